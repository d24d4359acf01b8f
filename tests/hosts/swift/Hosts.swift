import Foundation

/// One scenario, with a lane of the authority for itself.
struct Test: Sendable {
    let name: String
    let run: @Sendable (Lane) async throws -> Void

    init(_ name: String, _ run: @escaping @Sendable (Lane) async throws -> Void) {
        self.name = name
        self.run = run
    }
}

/// Runs the load-and-fault scenarios of the Swift package against the local authority, which the variable `REMINT_AUTHORITY` names.
/// Words after the program's name choose the tests whose names contain one of them.
@main
struct Hosts {
    static func main() async throws {
        guard let program = ProcessInfo.processInfo.environment["REMINT_AUTHORITY"] else {
            tell("the variable REMINT_AUTHORITY must name the authority's program: `cargo build -p authority` makes it")
            exit(2)
        }
        let authority = try Authority(program: program)
        let words = CommandLine.arguments.dropFirst()
        var (passed, failed) = (0, 0)
        func count(_ test: Test, _ failure: String?) {
            guard let failure else {
                passed += 1
                return
            }
            failed += 1
            tell("FAILED \(test.name)\n  \(failure)\n")
        }
        // Crowds and what sets the process's environment have the machine for themselves. Faults are mostly waiting.
        for (tests, atOnce) in [(crowds, 1), (trust, 1), (providers, 4), (calls, 4), (proofs, 4), (faults, 8)] {
            let chosen = tests.filter { test in words.isEmpty || words.contains { test.name.contains($0) } }
            await withTaskGroup(of: (Test, String?).self) { group in
                for (index, test) in chosen.enumerated() {
                    if index >= atOnce, let (test, failure) = await group.next() { count(test, failure) }
                    group.addTask { (test, await failure(of: test, authority)) }
                }
                for await (test, failure) in group { count(test, failure) }
            }
        }
        authority.end()
        tell("\(passed) passed, \(failed) failed")
        exit(failed == 0 && passed > 0 ? 0 : 1)
    }

    private static func failure(of test: Test, _ authority: Authority) async -> String? {
        do {
            try await within(.seconds(120)) { try await test.run(Lane(authority: authority)) }
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// At once: a run that is ended from outside has said how far it came.
    private static func tell(_ text: String) {
        FileHandle.standardOutput.write(Data("\(text)\n".utf8))
    }
}
