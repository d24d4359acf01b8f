//! Measures us and a peer in one run, and prints how they compare.

mod exchange;
mod measure;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    exchange::run()
}
