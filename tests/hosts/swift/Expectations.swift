import Foundation
import Remint

/// What a test expected and did not get.
struct Unmet: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

func expect(_ isMet: Bool, _ what: @autoclosure () -> String, line: Int = #line, file: String = #fileID) throws {
    if !isMet { throw Unmet("\(file):\(line): \(what())") }
}

func equal<Value: Equatable>(
    _ came: Value, _ expected: Value, _ what: String = "", line: Int = #line, file: String = #fileID
) throws {
    if came != expected { throw Unmet("\(file):\(line): \(what) expected \(expected), came \(came)") }
}

func require<Value>(_ value: Value?, _ what: String, line: Int = #line, file: String = #fileID) throws -> Value {
    guard let value else { throw Unmet("\(file):\(line): \(what) is missing") }
    return value
}

/// The error of the package that the call ends with.
@discardableResult
func refusal<Value>(
    _ code: String? = nil, line: Int = #line, file: String = #fileID, _ call: () async throws -> Value
) async throws -> RemintError {
    let value: Value
    do {
        value = try await call()
    } catch let error as RemintError {
        if let code { try equal(error.code, code, "\(error):", line: line, file: file) }
        return error
    }
    throw Unmet("\(file):\(line): an error `\(code ?? "")` was expected, came \(value)")
}

/// Everything that a program or a log may show of a value.
func everythingShown(of value: Any) -> String {
    var text = "\(value) \(String(reflecting: value)) \((value as? any Error)?.localizedDescription ?? "")"
    dump(value, to: &text)
    return text
}

/// Fails instead of hanging. What hangs is left behind.
func within<Value: Sendable>(
    _ limit: Duration, line: Int = #line, file: String = #fileID, _ work: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        let isOver = Once()
        let timer = Task {
            try await Task.sleep(for: limit)
            if isOver.first() {
                continuation.resume(throwing: Unmet("\(file):\(line): hangs: no outcome after \(limit)"))
            }
        }
        Task {
            let result: Result<Value, any Error>
            do { result = .success(try await work()) } catch { result = .failure(error) }
            timer.cancel()
            if isOver.first() { continuation.resume(with: result) }
        }
    }
}

/// Looks again and again until it is so.
func until(_ limit: Duration, line: Int = #line, file: String = #fileID, _ isSo: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !isSo() {
        if ContinuousClock.now > deadline { throw Unmet("\(file):\(line): it did not happen within \(limit)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// Runs so many callers at once, and gives what became of each.
func crowd<Value: Sendable>(
    _ count: Int, _ call: @escaping @Sendable (Int) async throws -> Value
) async -> [Result<Value, any Error>] {
    await withTaskGroup(of: Result<Value, any Error>.self) { group in
        for index in 0..<count {
            group.addTask {
                do { return .success(try await call(index)) } catch { return .failure(error) }
            }
        }
        return await group.reduce(into: []) { $0.append($1) }
    }
}

/// Something that happens once.
///
/// `@unchecked`: `hasHappened` is touched under `lock` only.
final class Once: @unchecked Sendable {
    private let lock = NSLock()
    private var hasHappened = false

    /// Whether this is the first time.
    func first() -> Bool {
        lock.withLock {
            defer { hasHappened = true }
            return !hasHappened
        }
    }
}

/// What was collected on whichever task or thread.
///
/// `@unchecked`: `items` is touched under `lock` only.
final class Collected<Item: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var items: [Item] = []

    func add(_ item: Item) {
        lock.withLock { items.append(item) }
    }

    var all: [Item] {
        lock.withLock { items }
    }
}

/// Both clocks of this machine, which can be moved on.
///
/// `@unchecked`: `offset` is touched under `lock` only.
final class MovedClock: TimeSource, @unchecked Sendable {
    private let lock = NSLock()
    private var offset: Int64 = 0
    private let start = ContinuousClock.now

    func move(to milliseconds: Int64) {
        lock.withLock { offset = milliseconds }
    }

    func wall() -> Int64 {
        Int64(Date().timeIntervalSince1970 * 1000) + lock.withLock { offset }
    }

    func boot() -> Int64 {
        let passed = (ContinuousClock.now - start).components
        return passed.seconds * 1000 + passed.attoseconds / 1_000_000_000_000_000 + lock.withLock { offset }
    }
}
