//! Writes the contract as an encoded `FileDescriptorSet` to standard output, for tools in other languages.
use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(narthex_api::DESCRIPTOR_SET)
}
