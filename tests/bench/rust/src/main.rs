//! Measures us and a peer in one run, and prints how they compare.

mod cached;
mod exchange;
mod keys;
mod measure;
mod signing;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("Rust, optimized for speed");
    cached::run()?;
    exchange::run()?;
    signing::run()?;
    keys::run()
}
