//! Compiles the protocol buffers without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/adit/terminal/v1/terminal.proto",
        "proto/adit/agent/v1/agent.proto",
        "proto/adit/bus/v1/bus.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    prost_build::Config::new().bytes(["."]).compile_fds(set)?;
    Ok(())
}
