import Foundation

/// Runs behaviour vectors against the Swift package: `vectors DIR`.
///
/// Every vector runs on the step machine of `RemintCore`; those about callers run once more through `Client`, with transport,
/// clock and entropy injected. The format is described in ../../README.md. What a vector says and this runner does not
/// understand is a failure, never a skip.
@main
struct Vectors {
    private var passed = 0
    private var failed = 0

    static func main() async throws {
        guard CommandLine.arguments.count == 2 else {
            FileHandle.standardError.write(Data("a directory is expected: vectors DIR\n".utf8))
            exit(2)
        }
        var vectors = Vectors()
        try await vectors.run(URL(fileURLWithPath: CommandLine.arguments[1], isDirectory: true))
        tell("\(vectors.passed) passed, \(vectors.failed) failed")
        exit(vectors.failed == 0 && vectors.passed > 0 ? 0 : 1)
    }

    private mutating func run(_ directory: URL) async throws {
        for file in try VectorFile.all(below: directory) {
            var vectors: [JSON] = []
            do {
                vectors = try file.vectors()
            } catch {
                count(file.name, error)
            }
            for (index, vector) in vectors.enumerated() {
                let place = vector["id"]?.string.map { "\(file.name): \($0)" } ?? "\(file.name) #\(index + 1)"
                let name = "\(place): \(vector["title"]?.string ?? "")"
                await count(name) { try MachineRun(vector).run() }
                if ClientRun.isMeant(by: vector) {
                    await count("\(name) (through Client)") { try await ClientRun(vector).run() }
                }
            }
        }
    }

    private mutating func count(_ name: String, _ run: () async throws -> Void) async {
        do {
            try await run()
            passed += 1
        } catch {
            count(name, error)
        }
    }

    private mutating func count(_ name: String, _ error: any Error) {
        failed += 1
        Vectors.tell("FAILED \(name)\n\((error as? Problem)?.text ?? "  \(error)")\n")
    }

    /// At once: a run that is ended from outside has said how far it came.
    private static func tell(_ text: String) {
        FileHandle.standardOutput.write(Data("\(text)\n".utf8))
    }
}
