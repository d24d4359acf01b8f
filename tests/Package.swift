// swift-tools-version: 6.0
// Everything in Swift that uses the packed package as a user would; `cargo xtask package swift` makes it.
import PackageDescription

let remint: [Target.Dependency] = [.product(name: "Remint", package: "remint-swift")]
/// What the vectors drive directly: outside of semantic versioning.
let core: [Target.Dependency] = [.product(name: "RemintCore", package: "remint-swift")]

let package = Package(
  name: "remint-tests",
  platforms: [.macOS(.v13)],
  dependencies: [.package(path: "../target/packages/remint-swift")],
  targets: [
    .executableTarget(name: "VectorsSwift", dependencies: core + remint, path: "vectors/runners/swift"),
    .executableTarget(name: "HostsSwift", dependencies: remint + ["Native"], path: "hosts/swift"),
    .executableTarget(
      name: "PeersSwift", dependencies: remint + ["Native"], path: "peers/drivers/swift", exclude: ["native"]),
    .executableTarget(
      name: "BenchSwift", dependencies: core + remint + ["Native"], path: "bench/swift", exclude: ["size", "README.md"]),
    // What Foundation does not have on Linux: keys, and connections with a certificate.
    .target(name: "Native", dependencies: remint, path: "peers/drivers/swift/native"),
    // What a program gets larger by.
    .executableTarget(name: "SizeWith", dependencies: remint, path: "bench/swift/size/with"),
    .executableTarget(name: "SizeWithout", path: "bench/swift/size/without"),
  ]
)
