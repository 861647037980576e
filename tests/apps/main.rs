//! Real programs from Debian's packages, plain and under the shim.
