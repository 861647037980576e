//! Brokers that are missing, die, or come late; peers that die; ends without the shim.
