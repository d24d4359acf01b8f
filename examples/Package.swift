// swift-tools-version: 6.0
// One program for each provider. In a project of your own the dependency is the published package instead of a path.
import PackageDescription

let remint: [Target.Dependency] = [.product(name: "Remint", package: "remint-swift")]

func example(_ name: String) -> Target {
  .executableTarget(name: name, dependencies: remint, path: "swift/\(name)")
}

let package = Package(
  name: "remint-examples",
  platforms: [.macOS(.v13)],
  dependencies: [.package(path: "../target/packages/remint-swift")],
  targets: [
    example("PhoenixSecurity"),
    example("PhoenixWallet"),
    example("PhoenixMarket"),
    example("Personify"),
    example("Rapidomize"),
    example("OwnProfile"),
    .executableTarget(name: "DemoSwift", dependencies: remint, path: "demo/swift"),
  ]
)
