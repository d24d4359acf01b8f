// The few shapes of Vapor 4 that the two back ends beside this folder use, by Vapor's names, and no more of it than that:
// so they compile and run here, without Vapor. In your application this target is Vapor itself.
import Foundation

/// Vapor's HTTP client. It is here because its name meets `Remint.Client`.
public protocol Client: Sendable {}

/// What lives as long as the process.
public final class Application: Sendable {
    private let state = Locked(State())

    private struct State {
        var storage = Storage()
        var lifecycle = Lifecycle()
        var middleware = Middlewares()
        var routes: [String: @Sendable (Request) async throws -> Response] = [:]
    }

    public init() {}

    public var logger: Logger { Logger() }

    public var storage: Storage {
        get { state.with { $0.storage } }
        set { state.with { $0.storage = newValue } }
    }

    public var lifecycle: Lifecycle {
        get { state.with { $0.lifecycle } }
        set { state.with { $0.lifecycle = newValue } }
    }

    public var middleware: Middlewares {
        get { state.with { $0.middleware } }
        set { state.with { $0.middleware = newValue } }
    }

    public func get<Answer: AsyncResponseEncodable>(
        _ path: String, use closure: @Sendable @escaping (Request) async throws -> Answer
    ) {
        state.with { $0.routes[path] = { request in try await closure(request).encodeResponse(for: request) } }
    }

    /// Stands for a request that arrives. Vapor has a server instead.
    public func answer(path: String) async throws -> Response {
        let request = Request(application: self)
        guard let route = state.with({ $0.routes[path] }) else { throw Abort(.notFound) }
        let first: any AsyncResponder = Responder(respond: route)
        let responder = middleware.all.reversed().reduce(first) { next, middleware in
            Responder { try await middleware.respond(to: $0, chainingTo: next) }
        }
        return try await responder.respond(to: request)
    }

    public func asyncShutdown() async throws {
        for handler in lifecycle.all { await handler.shutdownAsync(self) }
    }
}

public protocol StorageKey {
    associatedtype Value: Sendable
}

public struct Storage: Sendable {
    private var values: [ObjectIdentifier: any Sendable] = [:]

    public subscript<Key: StorageKey>(_: Key.Type) -> Key.Value? {
        get { values[ObjectIdentifier(Key.self)] as? Key.Value }
        set { values[ObjectIdentifier(Key.self)] = newValue }
    }
}

public protocol LifecycleHandler: Sendable {
    func shutdownAsync(_ application: Application) async
}

public struct Lifecycle: Sendable {
    fileprivate var all: [any LifecycleHandler] = []

    public mutating func use(_ handler: some LifecycleHandler) { all.append(handler) }
}

public protocol AsyncResponder: Sendable {
    func respond(to request: Request) async throws -> Response
}

public protocol AsyncMiddleware: Sendable {
    func respond(to request: Request, chainingTo next: any AsyncResponder) async throws -> Response
}

public struct Middlewares: Sendable {
    fileprivate var all: [any AsyncMiddleware] = []

    public mutating func use(_ middleware: some AsyncMiddleware) { all.append(middleware) }
}

public struct Request: Sendable {
    public let application: Application
    public var logger: Logger { application.logger }
}

public struct Response: Sendable {
    public var status: HTTPResponseStatus
    public var headers: HTTPHeaders
    public var body: Body

    public struct Body: Sendable {
        public let data: Data?

        public init(data: Data) { self.data = data }
    }

    public init(status: HTTPResponseStatus = .ok, headers: HTTPHeaders = [:], body: Body) {
        (self.status, self.headers, self.body) = (status, headers, body)
    }
}

public protocol AsyncResponseEncodable {
    func encodeResponse(for request: Request) async throws -> Response
}

extension Response: AsyncResponseEncodable {
    public func encodeResponse(for request: Request) async throws -> Response { self }
}

public protocol Content: Codable, Sendable, AsyncResponseEncodable {}

extension Content {
    public func encodeResponse(for request: Request) async throws -> Response {
        let headers: HTTPHeaders = ["content-type": "application/json; charset=utf-8"]
        return Response(headers: headers, body: .init(data: try JSONEncoder().encode(self)))
    }
}

public struct HTTPResponseStatus: Sendable, Equatable {
    public let code: Int

    public init(statusCode: Int) { code = statusCode }

    public static let ok = Self(statusCode: 200)
    public static let notFound = Self(statusCode: 404)
    public static let badGateway = Self(statusCode: 502)
    public static let serviceUnavailable = Self(statusCode: 503)
}

public struct HTTPHeaders: Sendable, ExpressibleByDictionaryLiteral {
    private var fields: [String: String] = [:]

    public init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { replaceOrAdd(name: name, value: value) }
    }

    public mutating func replaceOrAdd(name: String, value: String) { fields[name.lowercased()] = value }
    public func first(name: String) -> String? { fields[name.lowercased()] }
}

public struct Abort: Error, CustomStringConvertible, LocalizedError {
    public let status: HTTPResponseStatus
    public let headers: HTTPHeaders
    public let reason: String

    public init(_ status: HTTPResponseStatus, headers: HTTPHeaders = [:], reason: String? = nil) {
        (self.status, self.headers, self.reason) = (status, headers, reason ?? "status \(status.code)")
    }

    public var description: String { "Abort.\(status.code): \(reason)" }
    public var errorDescription: String? { description }
}

public enum Environment {
    public static func get(_ name: String) -> String? { ProcessInfo.processInfo.environment[name] }
}

public struct Logger: Sendable {
    public func notice(_ message: String) { write("notice", message) }
    public func error(_ message: String) { write("error", message) }

    private func write(_ level: String, _ message: String) {
        FileHandle.standardError.write(Data("\(level): \(message)\n".utf8))
    }
}

private struct Responder: AsyncResponder {
    let respond: @Sendable (Request) async throws -> Response

    func respond(to request: Request) async throws -> Response { try await respond(request) }
}

/// A value behind a lock. `@unchecked`: `value` is touched nowhere but in `with`, under the lock.
private final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func with<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        try lock.withLock { try body(&value) }
    }
}
