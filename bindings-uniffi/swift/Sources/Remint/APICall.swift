import Foundation
internal import RemintCore

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

extension Client {
    /// One API call: the token on it, redirects followed, and one repetition after a 401 where another token may help.
    ///
    /// Redirects are followed as browsers do, at most 20, and what this client put on the request is taken off where
    /// the origin changes. A request whose body is an `httpBodyStream` can be sent only once: it is not repeated, and
    /// the notice `body_not_replayable` says so.
    ///
    /// - Parameter request: The request. Its origin must be one that the profile or the option `apiOrigins` names.
    /// - Returns: The answer's body and head, whatever its status.
    /// - Throws: ``RemintError`` if there is no token, or if the token must not be sent there; what the transport
    ///   throws, such as a `URLError`; `CancellationError` when the calling task is cancelled.
    public func data(for request: URLRequest) async throws -> (Data, HTTPURLResponse) {
        let isReplayable = request.httpBodyStream == nil
        var ask = Ask()
        var proven: String?
        while true {
            var hop = try Hop(request)
            let attached = try await attach(ask, proven, hop.line)
            let (response, isAnswered) = try await follow(&hop, attached)
            let answer = (response.body, try response.head(hop.request.url))
            guard isAnswered, driver.matters(response, to: view.want) else { return answer }
            switch try answered(attached.call, hop.request.url, response.status, response.headers) {
            case .pass, .giveUp: return answer
            case .retry: (ask.call, proven) = (attached.call, nil)
            case .again(let call): proven = call
            }
            guard isReplayable else {
                driver.host.onNotice?(Notice(name: "body_not_replayable"))
                return answer
            }
        }
    }

    /// What goes on a request: for a call whose proof has to be made again, with the same token if it is still there.
    private func attach(_ ask: Ask, _ proven: String?, _ line: (method: String, url: String)) async throws -> Attached {
        if let proven, let attached = try await driver.attached(view, call: proven, line) { return attached }
        return try await driver.attach(view, ask, line)
    }

    /// Sends a request, and what redirects make of it. Says beside the last answer whether it came to a request with
    /// the token on it.
    private func follow(_ hop: inout Hop, _ attached: Attached) async throws -> (HTTPResponse, Bool) {
        var ours: [HTTPHeader]? = attached.headers
        for _ in 0...20 {
            for header in ours ?? [] { hop.request.set(header) }
            hop.request.certificateThumbprint = driver.certificate
            let response = try await driver.host.http.send(hop.request, like: hop.original)
            let home = hop.request.url
            guard let location = response.redirection else { return (response, ours != nil) }
            if ours != nil, response.hasNonce {
                // The next proof may have to repeat it; what becomes of this answer is clear.
                _ = try answered(attached.call, home, response.status, response.headers)
            }
            try hop.follow(location, response.status)
            if !hop.request.url.hasOrigin(of: home) {
                // What was meant for the one origin is nobody else's, and stays off however the redirects go on.
                for name in (ours ?? []).map(\.name) + credentials { hop.request.remove(name) }
                ours = nil
            } else if ours != nil {
                // A proof of possession is for one URL.
                ours = try await driver.attached(view, call: attached.call, hop.line)?.headers ?? ours
            }
        }
        throw URLError(.httpTooManyRedirects)
    }
}

/// One of the requests that a chain of redirects makes of the user's.
private struct Hop {
    var request: HTTPRequest
    /// Has everything else that the user set.
    var original: URLRequest

    init(_ original: URLRequest) throws {
        guard let url = original.url?.absoluteURL else { throw RemintError.misuse("the request has no URL") }
        self.original = original
        request = HTTPRequest(
            method: (original.httpMethod ?? "GET").uppercased(), url: url,
            headers: (original.allHTTPHeaderFields ?? [:]).map { ($0.key, $0.value) }.sorted { $0.name < $1.name },
            body: original.httpBody, timeout: Duration(clamping: original.timeoutInterval))
    }

    var line: (method: String, url: String) { (request.method, request.url.absoluteString) }

    /// Becomes the next request of a chain of redirects (Fetch standard, HTTP-redirect fetch).
    mutating func follow(_ location: String, _ status: Int) throws {
        guard let url = URL(string: location, relativeTo: request.url)?.absoluteURL,
            ["http", "https"].contains(url.scheme?.lowercased())
        else { throw URLError(.redirectToNonExistentLocation) }
        request.url = url
        let isSafe = request.method == "GET" || request.method == "HEAD"
        if status == 303 ? !isSafe : status < 303 && request.method == "POST" {
            request.method = "GET"
            request.body = nil
            original.httpBody = nil
            original.httpBodyStream = nil
            for name in ["content-encoding", "content-language", "content-location", "content-type", "content-length"] {
                request.remove(name)
            }
        } else if original.httpBodyStream != nil {
            throw RemintError(
                "body_not_replayable", .usage,
                "the body is a stream, which can be sent only once, and a redirect asks for it again: send it as `httpBody`, or to where it leads"
            )
        }
    }
}

/// What the caller may have put on the request for this origin alone.
private let credentials = ["authorization", "dpop", "proxy-authorization", "cookie", "host"]

extension HTTPRequest {
    fileprivate mutating func set(_ header: HTTPHeader) {
        remove(header.name)
        headers.append(header)
    }

    fileprivate mutating func remove(_ name: String) {
        headers.removeAll { $0.name.lowercased() == name.lowercased() }
    }
}

extension HTTPResponse {
    fileprivate var redirection: String? {
        guard [301, 302, 303, 307, 308].contains(status) else { return nil }
        return headers.first { $0.name.lowercased() == "location" }?.value
    }

    fileprivate func head(_ url: URL) throws -> HTTPURLResponse {
        if let original { return original }
        let fields = Dictionary(headers.map { ($0.name, $0.value) }, uniquingKeysWith: { "\($0), \($1)" })
        guard let head = HTTPURLResponse(url: url, statusCode: status, httpVersion: "HTTP/1.1", headerFields: fields)
        else {
            throw URLError(.badServerResponse)
        }
        return head
    }
}

extension URL {
    /// Whether scheme, host and port are the same (RFC 6454 section 4).
    fileprivate func hasOrigin(of other: URL) -> Bool {
        origin == other.origin
    }

    private var origin: [String] {
        let scheme = scheme?.lowercased() ?? ""
        return [scheme, host?.lowercased() ?? "", String(port ?? (scheme == "https" ? 443 : 80))]
    }
}
