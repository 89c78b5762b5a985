"""The latency of one network: made runnable under conditions, timed, watched, summed up."""
