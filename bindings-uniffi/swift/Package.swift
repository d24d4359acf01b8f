// swift-tools-version: 6.0
import PackageDescription

// The Rust core, in two ways. Linux: a static library that `pkg-config` finds by `lib/remint.pc`, without unsafe flags
// and without an rpath, so that a tagged package may depend on this one. Apple platforms: [.iOS(.v16), .macOS(.v13)],
#if os(Linux)
    let core: Target = .systemLibrary(name: "CRemint", pkgConfig: "remint")
#else
    let core: Target = .binaryTarget(name: "CRemint", path: "lib/CRemint.xcframework")
#endif

let package = Package(
    name: "remint",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        // What applications import.
        .library(name: "Remint", targets: ["Remint"]),
        // The step machine alone, for those who drive it themselves. Not covered by semantic versioning.
        .library(name: "RemintCore", targets: ["RemintCore"]),
    ],
    targets: [
        core,
        .target(name: "RemintCore", dependencies: ["CRemint"]),
        .target(name: "Remint", dependencies: ["RemintCore"]),
        .testTarget(name: "RemintTests", dependencies: ["Remint", "RemintCore"]),
    ],
    swiftLanguageModes: [.v6]
)
