import Foundation
internal import RemintCore

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// What sends requests for a client: those for tokens, and those to APIs.
protocol HTTPClient: Sendable {
    /// Sends a request once. `original` is the user's, with whatever else they set on it, and with the stream that its body may come from.
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

/// The default transport: a `URLSession` of the client's own.
///
/// The session is not the user's since a session's delegate, which alone can refuse redirects on every platform, is fixed when the session is made.
final class URLSessionTransport: HTTPClient {
    private let delegate = SessionDelegate()
    private let session: URLSession

    init(_ configuration: URLSessionConfiguration?) {
        session = URLSession(configuration: configuration ?? URLSessionTransport.plain, delegate: delegate, delegateQueue: nil)
    }

    deinit {
        // A session keeps its delegate alive until then.
        session.finishTasksAndInvalidate()
    }

    func send(_ request: HTTPRequest, like original: URLRequest?) async throws -> HTTPResponse {
        var wire = original ?? URLRequest(url: request.url, cachePolicy: .reloadIgnoringLocalCacheData)
        wire.url = request.url
        wire.httpMethod = request.method
        wire.allHTTPHeaderFields = nil
        for (name, value) in request.headers { wire.addValue(value, forHTTPHeaderField: name) }
        if let body = request.body { wire.httpBody = body }
        // Whole seconds, from which Foundation on Linux makes an integer. It counts between two packets: the time for all of it is kept by whoever
        // cancels the task.
        wire.timeoutInterval = min(max(1, request.timeout.seconds.rounded(.up)), 604_800)
        let task = session.dataTask(with: wire)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                delegate.add(task, continuation, cap: request.cap)
                // A task that was cancelled before it began reports its end all the same.
                if Task.isCancelled { task.cancel() }
                task.resume()
            }
        } onCancel: {
            task.cancel()
        }
    }

    /// No cookies, no cache and no credentials but those that the core puts on.
    private static var plain: URLSessionConfiguration {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.urlCache = nil
        configuration.urlCredentialStorage = nil
        configuration.httpCookieStorage = nil
        configuration.httpShouldSetCookies = false
        return configuration
    }
}

/// Collects the answers of one session's tasks, and refuses redirects.
private final class SessionDelegate: NSObject, URLSessionDataDelegate, Sendable {
    private struct Exchange {
        let continuation: CheckedContinuation<HTTPResponse, any Error>
        let cap: Int
        var body = Data()
        var isTooLarge = false
    }

    private let exchanges = Guarded<[Int: Exchange]>([:])

    func add(_ task: URLSessionTask, _ continuation: CheckedContinuation<HTTPResponse, any Error>, cap: Int) {
        exchanges.withLock { $0[task.taskIdentifier] = Exchange(continuation: continuation, cap: cap) }
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        let isTooLarge = exchanges.withLock { exchanges in
            guard var exchange = exchanges.removeValue(forKey: dataTask.taskIdentifier) else { return false }
            exchange.isTooLarge = data.count > exchange.cap - exchange.body.count
            if !exchange.isTooLarge { exchange.body.append(data) }
            exchanges[dataTask.taskIdentifier] = exchange
            return exchange.isTooLarge
        }
        if isTooLarge { dataTask.cancel() }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        guard let exchange = exchanges.withLock({ $0.removeValue(forKey: task.taskIdentifier) }) else { return }
        if exchange.isTooLarge {
            exchange.continuation.resume(throwing: TransportFailure(.tooLarge))
        } else if let error {
            exchange.continuation.resume(throwing: error)
        } else if let response = task.response as? HTTPURLResponse {
            let headers = response.allHeaderFields.compactMap { field -> HTTPHeader? in
                guard let name = field.key as? String, let value = field.value as? String else { return nil }
                return (name, value)
            }
            var answer = HTTPResponse(status: response.statusCode, headers: headers, body: exchange.body)
            answer.original = response
            exchange.continuation.resume(returning: answer)
        } else {
            exchange.continuation.resume(throwing: URLError(.badServerResponse))
        }
    }

    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
        completionHandler: @escaping (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }
}

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
    switch (error as? URLError)?.code {
    case .serverCertificateUntrusted, .serverCertificateHasBadDate, .serverCertificateNotYetValid, .serverCertificateHasUnknownRoot: true
    default: false
    }
}

let certificateHint =
    "the server's certificate is not trusted: add its authority to the system's trust store, or send with a `transport` of your own"

private let neverLeft: Set<URLError.Code> = [
    .badURL, .unsupportedURL, .cannotFindHost, .cannotConnectToHost, .dnsLookupFailed, .notConnectedToInternet, .secureConnectionFailed,
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
