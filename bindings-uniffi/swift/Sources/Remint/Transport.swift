import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Sends one HTTP request and gives its answer: exactly one attempt, no redirects followed, content codings undone.
///
/// It may be called from many tasks at once. Throw a ``TransportFailure`` to tell how far the request came; any other
/// error counts as ``TransportFailure/Kind/maybeSent``, except a `URLError` that can only come before the first byte.
/// When the time for the request is over, the task in which it runs is cancelled.
public typealias Transport = @Sendable (HTTPRequest) async throws -> HTTPResponse

/// One header line.
public typealias HTTPHeader = (name: String, value: String)

/// One HTTP request. URL, headers and body may hold secrets, and printing it shows none of them.
public struct HTTPRequest: Sendable {
    /// The method, in upper case.
    public var method: String
    /// The absolute URL.
    public var url: URL
    /// The header lines.
    public var headers: [HTTPHeader]
    /// The body, if there is one.
    public var body: Data?
    /// How long all of it may take, to the last byte of the answer.
    public var timeout: Duration
    /// How many bytes of body are wanted, after content codings were undone: throw ``TransportFailure/Kind/tooLarge``
    /// beyond that.
    public var cap: Int
    /// Which client certificate the connection presents, by its thumbprint, if the client has one: the option
    /// ``Configuration/certificateThumbprint``, or what replaced it. Connections of two certificates are never shared.
    public var certificateThumbprint: String?

    /// Makes a request.
    public init(
        method: String, url: URL, headers: [HTTPHeader] = [], body: Data? = nil, timeout: Duration = .seconds(10),
        cap: Int = .max
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.cap = cap
    }
}

/// One HTTP answer. Its body may hold a token, and printing it shows no header or body.
public struct HTTPResponse: Sendable {
    /// The status code.
    public var status: Int
    /// The header lines, in the order they came.
    public var headers: [HTTPHeader]
    /// The body, content codings undone.
    public var body: Data
    /// What `URLSession` made of it.
    var original: HTTPURLResponse?

    /// Whether the server says what the next proof of possession has to repeat (RFC 9449 section 8).
    var hasNonce: Bool { headers.contains { $0.name.lowercased() == "dpop-nonce" } }

    /// Makes an answer.
    public init(status: Int, headers: [HTTPHeader] = [], body: Data = Data()) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// How a request ended without an answer.
public struct TransportFailure: Error, Sendable {
    /// How far it came. The core decides by this whether a request that must not be sent twice may be repeated.
    public enum Kind: String, Sendable, Hashable {
        /// No byte of the request left: no connection, no name, no TLS.
        case notSent
        /// The server may have seen the request.
        case maybeSent
        /// There was no answer in time.
        case timeout
        /// The answer was longer than ``HTTPRequest/cap``.
        case tooLarge
    }

    /// How far it came.
    public let kind: Kind
    /// What the HTTP library said.
    public let underlyingError: (any Error)?

    /// Makes a failure.
    public init(_ kind: Kind, underlyingError: (any Error)? = nil) {
        self.kind = kind
        self.underlyingError = underlyingError
    }
}

extension HTTPRequest: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "HTTPRequest(\(method) \(url.host ?? ""))" }
    public var debugDescription: String { description }

    public var customMirror: Mirror {
        Mirror(
            self, children: ["method": method, "host": url.host as Any, "timeout": timeout, "cap": cap],
            displayStyle: .struct)
    }
}

extension HTTPResponse: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "HTTPResponse(\(status), \(body.count) bytes)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror {
        Mirror(self, children: ["status": status, "bytes": body.count], displayStyle: .struct)
    }
}
