//! Makes the folder of the console's files, empty where the console was not built: then the pages say how to build it.

fn main() -> std::io::Result<()> {
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist");
    println!("cargo:rerun-if-changed={dist}");
    std::fs::create_dir_all(dist)
}
