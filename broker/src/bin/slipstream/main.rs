#![doc = "x"] fn main() {}
