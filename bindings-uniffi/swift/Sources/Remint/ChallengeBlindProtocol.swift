#if canImport(FoundationNetworking)
    import Foundation
    import FoundationNetworking

    /// Foundation's own HTTP, with the `WWW-Authenticate` of a 401 hidden from what comes after it.
    ///
    /// Foundation on Linux (as of Swift 6.0) reads that header even where nobody asks it to, and then ends the process
    /// where a challenge is a bare scheme, such as `Bearer`; where there is a `Basic` challenge, it sends the request
    /// again or leaves it unanswered. To answer a challenge is the core's business.
    final class ChallengeBlindProtocol: URLProtocol {
        private var inner: URLProtocol?

        /// Puts it in the place of Foundation's own in a configuration.
        static func install(in configuration: URLSessionConfiguration) {
            configuration.protocolClasses = configuration.protocolClasses?.map {
                $0 == foundations ? ChallengeBlindProtocol.self : $0
            }
        }

        /// The answer as the server gave it.
        static func revealed(_ response: HTTPURLResponse) -> HTTPURLResponse {
            renamed(response, from: alias, to: header) ?? response
        }

        override class func canInit(with request: URLRequest) -> Bool {
            foundations?.canInit(with: request) ?? false
        }

        override class func canonicalRequest(for request: URLRequest) -> URLRequest {
            request
        }

        override func startLoading() {
            guard let task, let client else { return }
            let inner = ChallengeBlindProtocol.foundations?.init(
                task: task, cachedResponse: cachedResponse, client: Client(client))
            self.inner = inner
            inner?.startLoading()
        }

        override func stopLoading() {
            inner?.stopLoading()
        }

        fileprivate static let header = "WWW-Authenticate"
        fileprivate static let alias = "Remint-WWW-Authenticate"

        private static let foundations: URLProtocol.Type? = {
            guard let url = URL(string: "https://localhost") else { return nil }
            let classes = URLSessionConfiguration.ephemeral.protocolClasses?.compactMap { $0 as? URLProtocol.Type }
            return classes?.first { $0.canInit(with: URLRequest(url: url)) }
        }()

        fileprivate static func renamed(_ response: HTTPURLResponse, from name: String, to other: String)
            -> HTTPURLResponse?
        {
            guard response.statusCode == 401, let url = response.url,
                let value = response.value(forHTTPHeaderField: name)
            else { return nil }
            var fields = [other: value]
            for case (let field as String, let value as String) in response.allHeaderFields
            where field.caseInsensitiveCompare(name) != .orderedSame {
                fields[field] = value
            }
            return HTTPURLResponse(url: url, statusCode: 401, httpVersion: "HTTP/1.1", headerFields: fields)
        }

        /// Passes on what Foundation's HTTP reports.
        private final class Client: NSObject, URLProtocolClient {
            private let outer: any URLProtocolClient

            init(_ outer: any URLProtocolClient) {
                self.outer = outer
            }

            func urlProtocolDidFinishLoading(_ inner: URLProtocol) {
                // The task's response is what the challenge would be read from.
                if let response = inner.task?.response as? HTTPURLResponse,
                    let hidden = renamed(response, from: header, to: alias)
                {
                    outer.urlProtocol(inner, didReceive: hidden, cacheStoragePolicy: .notAllowed)
                }
                outer.urlProtocolDidFinishLoading(inner)
            }

            func urlProtocol(
                _ inner: URLProtocol, didReceive response: URLResponse,
                cacheStoragePolicy policy: URLCache.StoragePolicy
            ) {
                outer.urlProtocol(inner, didReceive: response, cacheStoragePolicy: policy)
            }

            func urlProtocol(_ inner: URLProtocol, didLoad data: Data) {
                outer.urlProtocol(inner, didLoad: data)
            }

            func urlProtocol(_ inner: URLProtocol, didFailWithError error: any Error) {
                outer.urlProtocol(inner, didFailWithError: error)
            }

            func urlProtocol(_ inner: URLProtocol, wasRedirectedTo request: URLRequest, redirectResponse: URLResponse) {
                outer.urlProtocol(inner, wasRedirectedTo: request, redirectResponse: redirectResponse)
            }

            func urlProtocol(_ inner: URLProtocol, cachedResponseIsValid cachedResponse: CachedURLResponse) {
                outer.urlProtocol(inner, cachedResponseIsValid: cachedResponse)
            }

            func urlProtocol(_ inner: URLProtocol, didReceive challenge: URLAuthenticationChallenge) {
                outer.urlProtocol(inner, didReceive: challenge)
            }

            func urlProtocol(_ inner: URLProtocol, didCancel challenge: URLAuthenticationChallenge) {
                outer.urlProtocol(inner, didCancel: challenge)
            }
        }
    }
#endif
