import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A corner of the authority that no other test sees.
struct Lane: Sendable {
    let authority: Authority
    let name = "swift-\(UUID().uuidString.prefix(8))"

    func url(_ path: String, origin: String = "http") -> String {
        "\(authority.address(origin))/\(name)/\(path)"
    }

    /// The address of a path at a provider.
    func api(_ provider: String, _ path: String, origin: String = "http") -> URL {
        URL(string: url("\(provider)/\(path)", origin: origin))!
    }

    // MARK: Its control

    @discardableResult
    func control(_ method: String, _ path: String, _ body: [String: Any]? = nil) async throws -> Any {
        var request = URLRequest(url: URL(string: url("control/\(path)"))!)
        request.httpMethod = method
        request.timeoutInterval = 20
        if let body {
            request.setValue("application/json", forHTTPHeaderField: "content-type")
            request.httpBody = try JSONSerialization.data(withJSONObject: body)
        }
        let (answer, response) = try await plainly(request)
        guard response.statusCode < 300 else {
            throw Unmet("\(method) \(path): \(response.statusCode) \(String(decoding: answer, as: UTF8.self))")
        }
        return answer.isEmpty ? [:] : try JSONSerialization.jsonObject(with: answer, options: .fragmentsAllowed)
    }

    func fault(_ rule: [String: Any]) async throws {
        try await control("POST", "faults", ["endpoint": "token"].merging(rule) { _, own in own })
    }

    func settings(_ settings: [String: Any]) async throws {
        try await control("PUT", "settings", settings)
    }

    func revoke() async throws {
        try await control("POST", "revoke", [:])
    }

    func release() async throws {
        try await control("POST", "release")
    }

    /// A refresh token that somebody's browser would have brought.
    func mint(subject: String) async throws -> String {
        let minted = try await control("POST", "mint", ["provider": "rapidomize", "subject": subject])
        return try require((minted as? [String: Any])?["refresh_token"] as? String, "a refresh token")
    }

    /// A number among the counters, by its path.
    func counter(_ path: String...) async throws -> Int {
        var value: Any? = try await control("GET", "counters")
        for name in path { value = (value as? [String: Any])?[name] }
        return try require((value as? NSNumber)?.intValue, "the counter \(path)")
    }

    func tokenRequests() async throws -> Int {
        try await counter("token", "total")
    }

    /// The requests that arrived, oldest first.
    func log(_ kind: String? = nil) async throws -> [[String: Any]] {
        let log = try await control("GET", "log\(kind.map { "?kind=\($0)" } ?? "")")
        return try require(log as? [[String: Any]], "a log")
    }

    // MARK: Clients

    /// A client of one of the five providers, as its documentation would have it.
    func client(
        _ provider: String, origin: String = "http", clientID: String = Authority.clientID,
        secret: String? = Authority.secret,
        scope: [String]? = nil, _ configure: (inout Configuration) -> Void = { _ in }
    ) throws -> Client {
        let base = url(provider, origin: origin)
        var scope = scope
        var configuration = Configuration()
        configuration.allowLoopbackHTTP = true
        configuration.variables["base_url"] = base
        configuration.variables["token_endpoint"] = "\(base)/oauth/token"
        switch provider {
        case "phoenix-security": configuration.variables["token_endpoint"] = nil
        case "phoenix-wallet": scope = scope ?? ["wallets:read"]
        case "phoenix-market":
            configuration.variables["base_url"] = nil
            configuration.variables["iframe_url"] = "\(base)/embed"
            configuration.apiOrigins = [authority.address(origin)]
        case "personify":
            configuration.variables["token_endpoint"] = "\(base)/connect/token"
            configuration.variables["tenant_id"] = "demo-tenant"
        case "rapidomize":
            configuration.grant = "authorization_code"
            configuration.variables["authorization_endpoint"] = "\(base)/oauth/authorize"
            configuration.variables["issuer"] = base
            configuration.redirectURI = "https://app.example/callback"
        default: throw Unmet("`\(provider)` is no provider")
        }
        configure(&configuration)
        return try Client(
            provider, clientID: clientID, clientSecret: secret, scope: scope, configuration: configuration)
    }
}

/// The session of the tests' own requests, which know nothing of tokens and follow no redirect.
private let session = URLSession(configuration: .ephemeral, delegate: RefusesRedirects(), delegateQueue: nil)

private final class RefusesRedirects: NSObject, URLSessionTaskDelegate, Sendable {
    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest,
        completionHandler: @escaping (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }
}

/// Sends a request as it is, once, and follows no redirect.
func plainly(_ request: URLRequest) async throws -> (Data, HTTPURLResponse) {
    try await withCheckedThrowingContinuation { continuation in
        session.dataTask(with: request) { data, response, error in
            if let response = response as? HTTPURLResponse {
                continuation.resume(returning: (data ?? Data(), response))
            } else {
                continuation.resume(throwing: error ?? URLError(.badServerResponse))
            }
        }.resume()
    }
}

/// A JSON object that an API answered with.
func object(_ data: Data) throws -> [String: Any] {
    try require(JSONSerialization.jsonObject(with: data) as? [String: Any], "a JSON object")
}
