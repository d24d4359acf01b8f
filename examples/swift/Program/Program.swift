// What every program here needs and no application: its variables, and an error that ends it with a line of text.
import Foundation

/// The value of a variable of this process, if there is one.
public func variable(_ name: String) -> String? {
    ProcessInfo.processInfo.environment[name]
}

/// Runs a program to its end. An error that nobody caught would crash it, with a dump of its memory: here it is shown, and the status is 1.
public func program(_ body: @Sendable () async throws -> Void) async {
    do {
        try await body()
    } catch {
        log("error: \(error.localizedDescription)")
        exit(1)
    }
}

/// Writes a line to standard error.
public func log(_ line: String) {
    FileHandle.standardError.write(Data("\(line)\n".utf8))
}

/// Asks the person at the terminal, and waits for one line.
public func ask(_ question: String...) -> String {
    for line in question { print(line) }
    // All streams: a pipe takes nothing before its buffer is full.
    fflush(nil)
    return readLine() ?? ""
}
