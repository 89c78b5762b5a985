"""Before a training: which recipe suits the images, and what is to be feared of it."""
