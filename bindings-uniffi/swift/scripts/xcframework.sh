#!/bin/sh
# Builds lib/CRemint.xcframework, which Package.swift wants on Apple platforms.
#
# It needs macOS with Xcode and rustup, so it has never run in this repository's own tests, which are on Linux. The header CRemint.h is
# generated with the bindings: run `cargo xtask package swift` first.
set -eu

swift=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$swift/../../target}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

library() { # name, triples: one library for one platform, of all its architectures
    name=$1
    shift
    mkdir -p "$work/$name"
    archives=
    for triple in "$@"; do
        rustup target add "$triple"
        cargo build --release --package remint-bindings-uniffi --manifest-path "$swift/../Cargo.toml" --target "$triple"
        archives="$archives $target/$triple/release/libremint_ffi.a"
    done
    # shellcheck disable=SC2086
    lipo -create $archives -output "$work/$name/libremint_ffi.a"
}

export IPHONEOS_DEPLOYMENT_TARGET=16.0 MACOSX_DEPLOYMENT_TARGET=13.0
library ios aarch64-apple-ios
library simulator aarch64-apple-ios-sim x86_64-apple-ios
library macos aarch64-apple-darwin x86_64-apple-darwin

mkdir "$work/headers"
cp "$swift/Sources/CRemint/CRemint.h" "$swift/Sources/CRemint/module.modulemap" "$work/headers"

rm -rf "$swift/lib/CRemint.xcframework"
xcodebuild -create-xcframework \
    -library "$work/ios/libremint_ffi.a" -headers "$work/headers" \
    -library "$work/simulator/libremint_ffi.a" -headers "$work/headers" \
    -library "$work/macos/libremint_ffi.a" -headers "$work/headers" \
    -output "$swift/lib/CRemint.xcframework"
