"""What hardware does: data sheets, what this machine is, op roofline, measured block tables."""
