//! What the benchmarks share: [rings in plain memory](rings) for the microbenchmarks (`cargo bench`), and the parts of
//! the [comparison](case) that `src/bin/compare.rs` puts together.

pub mod bar;
pub mod case;
pub mod redis;
pub mod render;
pub mod rings;
pub mod run;
