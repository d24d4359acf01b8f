import Foundation
import Remint

/// Everything around a client under test: clocks, timers, the wire.
///
/// `@unchecked`: every access to what can change is made under `lock`.
final class World: TimeSource, @unchecked Sendable {
    private let lock = NSLock()
    private let entropy: Data
    private var clocks: (wall: Int64, boot: Int64)
    private var timers: [Int: (due: Int64, waiter: CheckedContinuation<Void, any Error>)] = [:]
    private var started = 0
    private var requests: [WireRequest] = []
    private var heard: [String] = []
    private var isOver = false

    init(wall: Int64, boot: Int64, entropy: Data) {
        clocks = (wall, boot)
        self.entropy = entropy
    }

    /// The configuration of a client that lives in this world.
    func inhabit(_ configuration: inout Configuration) {
        configuration.clock = self
        configuration.random = { [entropy] in entropy.prefix($0) }
        configuration.transport = { [self] in try await send($0) }
        configuration.onNotice = { [self] told in
            lock.withLock { heard.append(notice(told.name, told.detail)) }
        }
    }

    func wall() -> Int64 {
        lock.withLock { clocks.wall }
    }

    func boot() -> Int64 {
        lock.withLock { clocks.boot }
    }

    func move(toWall wall: Int64, boot: Int64) {
        lock.withLock { clocks = (wall, boot) }
    }

    func sleep(milliseconds: Int64) async throws {
        let timer = lock.withLock {
            started += 1
            return started
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter in
                let isCancelled = lock.withLock {
                    if Task.isCancelled { return true }
                    timers[timer] = (clocks.boot + milliseconds, waiter)
                    return false
                }
                if isCancelled { waiter.resume(throwing: CancellationError()) }
            }
        } onCancel: {
            lock.withLock { timers.removeValue(forKey: timer) }?.waiter.resume(throwing: CancellationError())
        }
    }

    /// Ends the sleep that is due first, if there is one.
    func fireTimer() -> Bool {
        let due = lock.withLock {
            let first = timers.filter { $0.value.due <= clocks.boot }.min {
                ($0.value.due, $0.key) < ($1.value.due, $1.key)
            }
            return first.flatMap { timers.removeValue(forKey: $0.key) }
        }
        due?.waiter.resume()
        return due != nil
    }

    private func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let wire = WireRequest(request)
        let isOver = lock.withLock {
            requests.append(wire)
            return self.isOver
        }
        if isOver { throw TransportFailure(.notSent) }
        return try await wire.answer()
    }

    func requests(since count: Int) -> [WireRequest] {
        lock.withLock { Array(requests.dropFirst(count)) }
    }

    /// What was noticed since the last call of `forgetNotices`.
    var notices: [String] {
        lock.withLock { heard }
    }

    func forgetNotices() {
        lock.withLock { heard = [] }
    }

    /// The wire is gone, and the clocks stand still: whoever sleeps goes on sleeping.
    func end() {
        let waiting = lock.withLock {
            isOver = true
            return requests
        }
        for request in waiting { request.give(.failure(TransportFailure(.notSent))) }
    }
}

/// A token request on the wire.
///
/// `@unchecked`: every access to what can change is made under `lock`.
final class WireRequest: @unchecked Sendable {
    let request: HTTPRequest
    private let lock = NSLock()
    private var given: Result<HTTPResponse, any Error>?
    private var waiter: CheckedContinuation<HTTPResponse, any Error>?

    init(_ request: HTTPRequest) {
        self.request = request
    }

    /// As the vectors write it.
    var shown: JSON {
        .members([
            "method": .string(request.method),
            "url": .string(request.url.absoluteString),
            "headers": .array(request.headers.map { [.string($0.name), .string($0.value)] }),
            "body": request.body.map { .string(String(decoding: $0, as: UTF8.self)) },
        ])
    }

    func answer() async throws -> HTTPResponse {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let early = lock.withLock {
                    if given == nil { waiter = continuation }
                    return given
                }
                if let early { continuation.resume(with: early) }
            }
        } onCancel: {
            give(.failure(CancellationError()))
        }
    }

    /// The first answer counts.
    func give(_ answer: Result<HTTPResponse, any Error>) {
        let waiting = lock.withLock {
            if given == nil { given = answer }
            defer { waiter = nil }
            return waiter
        }
        waiting?.resume(with: answer)
    }
}
