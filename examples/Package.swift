// swift-tools-version: 6.0
// One program for each provider. In a project of your own the dependency is the published package instead of a path.
import PackageDescription

let remint = Target.Dependency.product(name: "Remint", package: "remint-swift")

@MainActor
func example(_ name: String, and dependencies: Target.Dependency...) -> Target {
  .executableTarget(name: name, dependencies: [remint, "Program"] + dependencies, path: "swift/\(name)")
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
    example("VaporApp", and: "Vapor"),
    // Two halves: what may be on a phone, and what may not.
    example("MobileApp"),
    example("MobileBackEnd", and: "Vapor"),
    .target(name: "Program", path: "swift/Program"),
    // In an application of your own, the package of that name.
    .target(name: "Vapor", path: "swift/VaporShapes"),
    .executableTarget(name: "DemoSwift", dependencies: [remint], path: "demo/swift"),
  ]
)
