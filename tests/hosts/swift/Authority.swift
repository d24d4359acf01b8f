import Foundation

/// The local authority, as a child of this program.
///
/// `@unchecked`: nothing of it changes after it was started but the child itself, which one task ends.
final class Authority: @unchecked Sendable {
    static let clientID = "demo-client"
    static let secret = "s3cret+/%&: odd"
    static let apiToken = "t0ken+/%&: odd"

    private let child = Process()
    private let input = Pipe()
    private let lines: [String: String]

    /// Starts the program, and waits until it listens.
    init(program: String) throws {
        let output = Pipe()
        child.executableURL = URL(fileURLWithPath: program)
        child.arguments = [
            "--exit-with-stdin", "--quiet", "--ca-out", NSTemporaryDirectory() + "/authority-\(getpid()).pem",
        ]
        child.standardInput = input
        child.standardOutput = output
        try child.run()
        var line = Data()
        while !line.contains(UInt8(ascii: "\n")) {
            let read = output.fileHandleForReading.availableData
            if read.isEmpty { throw Unmet("the authority did not start") }
            line += read
        }
        guard let about = try JSONSerialization.jsonObject(with: line) as? [String: Any] else {
            throw Unmet("the authority said nothing")
        }
        lines = about.compactMapValues { $0 as? String }
    }

    /// Its addresses: `http`, `https` and `other`.
    func address(_ origin: String) -> String {
        lines[origin] ?? ""
    }

    /// The certificate authority that it made for itself, as a file.
    var certificates: String {
        lines["ca"] ?? ""
    }

    func end() {
        input.fileHandleForWriting.closeFile()
        child.waitUntilExit()
        try? FileManager.default.removeItem(atPath: certificates)
    }
}
