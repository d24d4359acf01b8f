import Foundation
internal import RemintCore

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// What sends requests for a client: those for tokens, and those to APIs.
protocol HTTPClient: Sendable {
    /// Sends a request once. `original` is the user's, with whatever else they set on it, and with the stream that its
    /// body may come from.
    func send(_ request: HTTPRequest, like original: URLRequest?) async throws -> HTTPResponse
}

/// The user's own transport.
struct CustomTransport: HTTPClient {
    let transport: Transport

    func send(_ request: HTTPRequest, like original: URLRequest?) async throws -> HTTPResponse {
        var request = request
        if let stream = original?.httpBodyStream { request.body = try Data(reading: stream) }
        return try await transport(request)
    }
}

/// The default transport: `URLSession`s of the package's own.
///
/// They are not the user's since a session's delegate, which alone can refuse redirects on every platform, is fixed
/// when the session is made. Token requests share no connections, with one another or with API calls: on one that turns
/// out to be dead, the system would send a request again, and a refresh token that was spent by the first time would look
/// stolen.
final class URLSessionTransport: HTTPClient {
    private let sessions: Guarded<Sessions>

    init(_ configuration: URLSessionConfiguration?) {
        let own = configuration?.copy() as? URLSessionConfiguration
        #if canImport(Darwin)
            sessions = Guarded(Sessions(own ?? Sessions.plain))
        #else
            // A session that is let go with an open connection ends the process (Foundation on Linux, as of Swift 6.0): so
            // none is. Clients without a configuration of their own share theirs.
            sessions = own.map { Guarded(Sessions($0)) } ?? Sessions.shared
            if own != nil { Sessions.kept.withLock { $0.append(sessions) } }
        #endif
    }

    #if canImport(Darwin)
        deinit {
            sessions.withLock { $0.end() }
        }
    #endif

    func send(_ request: HTTPRequest, like original: URLRequest?) async throws -> HTTPResponse {
        guard original == nil else {
            return try await send(request, like: original, by: sessions.withLock { $0.forCalls() })
        }
        #if canImport(Darwin)
            let session = sessions.withLock { Session($0.configuration) }
            defer { session.end() }
            return try await send(request, like: nil, by: session)
        #else
            var request = request
            request.headers.append(("Connection", "close"))
            return try await send(request, like: nil, by: sessions.withLock { $0.forTokens() })
        #endif
    }

    private func send(_ request: HTTPRequest, like original: URLRequest?, by session: Session) async throws
        -> HTTPResponse
    {
        var wire = original ?? URLRequest(url: request.url, cachePolicy: .reloadIgnoringLocalCacheData)
        if original == nil { wire.httpShouldHandleCookies = false }
        wire.url = request.url
        wire.httpMethod = request.method
        wire.allHTTPHeaderFields = nil
        for (name, value) in request.headers { wire.addValue(value, forHTTPHeaderField: name) }
        if let body = request.body { wire.httpBody = body }
        // Whole seconds, from which Foundation on Linux makes an integer. It counts between two packets: the time for
        // all of it is kept by whoever cancels the task.
        wire.timeoutInterval = min(max(1, request.timeout.seconds.rounded(.up)), 604_800)
        let task = session.session.dataTask(with: wire)
        do {
            return try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { continuation in
                    session.delegate.add(task, continuation, cap: request.cap)
                    task.resume()
                    // The handler below may have run before the task was known.
                    if Task.isCancelled { session.delegate.fail(task, with: CancellationError()) }
                }
            } onCancel: {
                task.cancel()
            }
        } catch let error as URLError where error.code == .cancelled {
            throw CancellationError()
        }
    }
}

/// A session and its delegate.
private struct Session: Sendable {
    let delegate = SessionDelegate()
    let session: URLSession

    init(_ configuration: URLSessionConfiguration) {
        session = URLSession(configuration: configuration, delegate: delegate, delegateQueue: nil)
    }

    /// A session keeps its delegate alive until then.
    func end() {
        session.finishTasksAndInvalidate()
    }
}

/// The sessions of one configuration, each made when it is first used.
private struct Sessions {
    let configuration: URLSessionConfiguration
    private var calls: Session?

    init(_ configuration: URLSessionConfiguration) {
        self.configuration = configuration
        #if canImport(FoundationNetworking)
            ChallengeBlindProtocol.install(in: configuration)
        #endif
    }

    mutating func forCalls() -> Session {
        let session = calls ?? Session(configuration)
        calls = session
        return session
    }

    #if canImport(Darwin)
        func end() {
            calls?.end()
        }
    #else
        private var tokens: Session?

        mutating func forTokens() -> Session {
            let session = tokens ?? Session(configuration)
            tokens = session
            return session
        }

        static let shared = Guarded(Sessions(plain))
        static let kept = Guarded<[Guarded<Sessions>]>([])
    #endif

    /// No cookies, no cache and no credentials but those that the core puts on; and nobody waits for another's answer.
    static var plain: URLSessionConfiguration {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.urlCache = nil
        configuration.urlCredentialStorage = nil
        configuration.httpCookieStorage = nil
        configuration.httpShouldSetCookies = false
        configuration.httpMaximumConnectionsPerHost = 10_000
        return configuration
    }
}

/// Collects the answers of one session's tasks, and refuses redirects.
private final class SessionDelegate: NSObject, URLSessionDataDelegate, Sendable {
    private struct Exchange {
        let continuation: CheckedContinuation<HTTPResponse, any Error>
        let cap: Int
        var body = Data()

        /// Whether there was room for it.
        mutating func append(_ data: Data) -> Bool {
            guard data.count <= cap - body.count else { return false }
            body.append(data)
            return true
        }
    }

    private let exchanges = Guarded<[Int: Exchange]>([:])

    func add(_ task: URLSessionTask, _ continuation: CheckedContinuation<HTTPResponse, any Error>, cap: Int) {
        exchanges.withLock { $0[task.taskIdentifier] = Exchange(continuation: continuation, cap: cap) }
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        let isTooLarge = exchanges.withLock { exchanges in
            // Appended to in its place: a copy of a long body for each of its parts would take forever.
            exchanges[dataTask.taskIdentifier]?.append(data) == false
        }
        if isTooLarge {
            fail(dataTask, with: TransportFailure(.tooLarge))
            dataTask.cancel()
        }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        if let error {
            fail(task, with: error)
        } else {
            finish(task)
        }
    }

    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest,
        completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }

    #if canImport(Darwin)
        func urlSession(
            _ session: URLSession, task: URLSessionTask, didReceive challenge: URLAuthenticationChallenge,
            completionHandler: @escaping @Sendable (URLSession.AuthChallengeDisposition, URLCredential?) -> Void
        ) {
            let space = challenge.protectionSpace
            // What a server asks for is the core's to answer; proxies and TLS are the system's.
            let isServers = !space.isProxy() && httpAuthentication.contains(space.authenticationMethod)
            completionHandler(isServers ? .rejectProtectionSpace : .performDefaultHandling, nil)
        }
    #endif

    private func finish(_ task: URLSessionTask) {
        guard let exchange = exchanges.withLock({ $0.removeValue(forKey: task.taskIdentifier) }) else { return }
        guard let given = task.response as? HTTPURLResponse else {
            return exchange.continuation.resume(throwing: URLError(.badServerResponse))
        }
        #if canImport(FoundationNetworking)
            let response = ChallengeBlindProtocol.revealed(given)
        #else
            let response = given
        #endif
        let headers = response.allHeaderFields.compactMap { field -> HTTPHeader? in
            guard let name = field.key as? String, let value = field.value as? String else { return nil }
            return (name, value)
        }
        var answer = HTTPResponse(status: response.statusCode, headers: headers, body: exchange.body)
        answer.original = response
        exchange.continuation.resume(returning: answer)
    }

    func fail(_ task: URLSessionTask, with error: any Error) {
        guard let exchange = exchanges.withLock({ $0.removeValue(forKey: task.taskIdentifier) }) else { return }
        #if canImport(FoundationNetworking)
            // Of most that fails, Foundation on Linux does not tell what it was. A body of which nothing was asked for
            // has not left.
            let isUnsent =
                task.countOfBytesSent == 0 && task.originalRequest?.httpBody?.isEmpty == false && task.response == nil
            if isUnsent, (error as? URLError)?.code == .unknown {
                return exchange.continuation.resume(throwing: TransportFailure(.notSent, underlyingError: error))
            }
        #endif
        exchange.continuation.resume(throwing: error)
    }
}

#if canImport(Darwin)
    private let httpAuthentication: Set<String> = [
        NSURLAuthenticationMethodDefault, NSURLAuthenticationMethodHTTPBasic, NSURLAuthenticationMethodHTTPDigest,
        NSURLAuthenticationMethodHTMLForm, NSURLAuthenticationMethodNTLM, NSURLAuthenticationMethodNegotiate,
    ]
#endif

/// Whether a request that failed may have reached the server. Only what is sure not to have left is `notSent`.
func failureKind(_ error: any Error) -> FailureKind {
    switch error {
    case let failure as TransportFailure:
        switch failure.kind {
        case .notSent: .notSent
        case .maybeSent: .maybeSent
        case .timeout: .timeout
        case .tooLarge: .tooLarge
        }
    case let error as URLError:
        if error.code == .timedOut {
            .timeout
        } else {
            neverLeft.contains(error.code) || isCertificateFailure(error) ? .notSent : .maybeSent
        }
    case is CancellationError: .abandoned
    default: .maybeSent
    }
}

/// Whether the server's certificate was refused.
func isCertificateFailure(_ error: any Error) -> Bool {
    switch error {
    case let failure as TransportFailure: failure.underlyingError.map(isCertificateFailure) ?? false
    case let error as URLError:
        switch error.code {
        case .serverCertificateUntrusted, .serverCertificateHasBadDate, .serverCertificateNotYetValid,
            .serverCertificateHasUnknownRoot:
            true
        // Foundation on Linux leaves it at what libcurl says.
        case .unknown: error.localizedDescription.contains("certificate")
        default: false
        }
    default: false
    }
}

let certificateHint =
    "the server's certificate is not trusted: add its authority to the system's trust store, or send with a `transport` of your own"

private let neverLeft: Set<URLError.Code> = [
    .cannotFindHost, .cannotConnectToHost, .dnsLookupFailed, .notConnectedToInternet, .secureConnectionFailed,
    .internationalRoamingOff, .callIsActive, .dataNotAllowed, .appTransportSecurityRequiresSecureConnection,
]

extension Data {
    /// All that is left in a stream.
    init(reading stream: InputStream) throws {
        self.init()
        stream.open()
        defer { stream.close() }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = stream.read(&buffer, maxLength: buffer.count)
            if count < 0 { throw stream.streamError ?? URLError(.cannotDecodeRawData) }
            if count == 0 { return }
            append(contentsOf: buffer[..<count])
        }
    }
}
