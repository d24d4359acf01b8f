import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// API calls by `data(for:)`: when they are repeated, and where the token goes.
let calls: [Test] = [
    Test("a revoked token is replaced once and the body sent again") { lane in
        let client = try lane.client("phoenix-wallet", scope: ["wallets:write"])
        _ = try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/any")))
        try await lane.revoke()
        let body = String(repeating: "x", count: 20_000)
        let (data, response) = try await client.data(for: post(lane.api("phoenix-wallet", "v1/wallets"), body))
        try equal(response.statusCode, 200)
        try equal(try object(data)["body_bytes"] as? Int, 20_000)
        try equal(try object(data)["token_number"] as? Int, 2)
        let log = try await lane.log().map { "\($0["kind"] ?? "") \($0["status"] ?? "")" }
        try equal(log, ["token 200", "api 200", "api 401", "token 200", "api 200"])
    },

    Test("a body that is a stream is sent once: the 401 is the caller's, and that is said") { lane in
        let notices = Collected<String>()
        let client = try lane.client("phoenix-wallet", scope: ["wallets:write"]) {
            $0.onNotice = { notices.add($0.name) }
        }
        _ = try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/any")))
        try await lane.revoke()
        var request = post(lane.api("phoenix-wallet", "v1/wallets"), "")
        request.httpBody = nil
        request.httpBodyStream = InputStream(data: Data("once".utf8))
        try equal(try await client.data(for: request).1.statusCode, 401)
        try expect(notices.all.contains("body_not_replayable"), "\(notices.all)")
        // The refused token is gone all the same.
        try equal(try await client.data(for: post(lane.api("phoenix-wallet", "v1/wallets"), "again")).1.statusCode, 200)
        try equal(try await lane.tokenRequests(), 2)
    },

    Test("a stream arrives whole where nothing is wrong") { lane in
        let client = try lane.client("phoenix-wallet", scope: ["wallets:write"])
        var request = post(lane.api("phoenix-wallet", "v1/wallets"), "")
        request.httpBody = nil
        request.httpBodyStream = InputStream(data: Data(repeating: 0x78, count: 100_000))
        let (data, response) = try await client.data(for: request)
        try equal(response.statusCode, 200)
        try equal(try object(data)["body_bytes"] as? Int, 100_000)
    },

    Test("an API that refuses every token is asked twice and no more") { lane in
        try await lane.fault(["endpoint": "api", "status": 401, "count": NSNull()])
        let client = try lane.client("phoenix-wallet")
        for _ in 0..<6 {
            try equal(
                try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))).1.statusCode, 401)
        }
        let (tokens, requests) = (try await lane.tokenRequests(), try await lane.counter("api", "total"))
        try expect(tokens <= 3, "\(tokens) token requests")
        try expect(requests <= 8, "\(requests) API requests")
    },

    Test("a token that was minted in this very call is not replaced") { lane in
        try await lane.fault(["endpoint": "api", "status": 401, "count": 1])
        let client = try lane.client("phoenix-wallet")
        try equal(
            try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))).1.statusCode, 401)
        try equal(try await lane.counter("api", "total"), 1)
    },

    Test("insufficient_scope is the caller's: no other token is asked for") { lane in
        let client = try lane.client("phoenix-wallet")
        _ = try await client.token()
        let challenge = #"Bearer error="insufficient_scope", scope="wallets:write""#
        try await lane.fault(["endpoint": "api", "status": 401, "headers": ["WWW-Authenticate": challenge]])
        try equal(
            try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))).1.statusCode, 401)
        try equal(try await lane.tokenRequests(), 1)
        try equal(try await lane.counter("api", "total"), 1)
    },

    Test("a challenge is looked for in every line, and one for Basic ends nothing") { lane in
        let client = try lane.client("phoenix-wallet", scope: ["wallets:write"])
        _ = try await client.token()
        let basic = #"Basic realm="a""#
        let scope = #"Bearer realm="a", error="insufficient_scope""#
        for challenges in [[basic, scope], [scope, basic]] {
            try await lane.fault([
                "endpoint": "api", "status": 401, "body": "no", "headers": ["WWW-Authenticate": challenges],
            ])
            let (data, response) = try await within(.seconds(20)) {
                try await client.data(for: post(lane.api("phoenix-wallet", "v1/wallets"), "body"))
            }
            try equal(response.statusCode, 401)
            try equal(String(decoding: data, as: UTF8.self), "no")
        }
        try equal(try await lane.tokenRequests(), 1)
        // An answer that is none about the token lies between, so that the next refusal counts as the first.
        try await lane.fault(["endpoint": "api", "status": 200])
        _ = try await client.data(for: post(lane.api("phoenix-wallet", "v1/wallets"), "body"))
        try await lane.fault(["endpoint": "api", "status": 401, "headers": ["WWW-Authenticate": basic]])
        let again = try await within(.seconds(20)) {
            try await client.data(for: post(lane.api("phoenix-wallet", "v1/wallets"), "body")).1
        }
        try equal(again.statusCode, 200)
        try equal(try await lane.tokenRequests(), 2)
    },

    Test("no cookie of an API comes back") { lane in
        let client = try lane.client("phoenix-wallet")
        try await lane.fault(["endpoint": "api", "status": 200, "headers": ["Set-Cookie": "crumb=1; Path=/"]])
        for _ in 0..<2 { _ = try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))) }
        let names = try await lane.log("api").flatMap { $0["header_names"] as? [String] ?? [] }
        try expect(names.contains("authorization") && !names.contains("cookie"), "\(names)")
    },

    Test("requests go by the session configuration that the user gives") { lane in
        let session = URLSessionConfiguration.ephemeral
        session.httpAdditionalHeaders = ["x-from-session": "1"]
        let client = try lane.client("phoenix-wallet") { $0.urlSession = session }
        _ = try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets")))
        for entry in try await lane.log() {
            try expect((entry["header_names"] as? [String])?.contains("x-from-session") == true, "\(entry)")
        }
        // It was copied: what is changed later changes nothing.
        session.httpAdditionalHeaders = nil
        _ = try await client.token(force: true)
        let last = try require(try await lane.log("token").last, "a token request")
        try expect((last["header_names"] as? [String])?.contains("x-from-session") == true, "\(last)")
    },

    Test("other errors of the API are the caller's") { lane in
        try await lane.fault(["endpoint": "api", "status": 403])
        try await lane.fault(["endpoint": "api", "status": 500])
        let client = try lane.client("phoenix-wallet")
        var statuses: [Int] = []
        for _ in 0..<3 {
            statuses.append(
                try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))).1.statusCode)
        }
        try equal(statuses, [403, 500, 200])
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("a redirect to another origin takes everything of ours off, one within the origin keeps it") { lane in
        let client = try lane.client("personify")
        func through(_ to: String, _ status: Int = 307) async throws -> [String: Any] {
            var request = URLRequest(url: lane.redirect("personify", to: to, status: status))
            request.setValue("kept", forHTTPHeaderField: "x-own")
            return try object(try await client.data(for: request).0)
        }
        let ours: Set = ["authorization", "x-tenant-id"]
        for status in [301, 302, 303, 307, 308] {
            let elsewhere = Set(
                try await through(lane.url("echo", origin: "other"), status)["header_names"] as? [String] ?? [])
            try expect(elsewhere.contains("x-own") && elsewhere.isDisjoint(with: ours), "\(status): \(elsewhere)")
            let here = Set(try await through(lane.url("echo"), status)["header_names"] as? [String] ?? [])
            try expect(here.isSuperset(of: ours), "\(status): \(here)")
        }
    },

    Test("after a detour the token stays off") { lane in
        let client = try lane.client("phoenix-wallet")
        let away = lane.redirect("phoenix-wallet", to: lane.url("echo"), status: 307, origin: "other")
        let request = URLRequest(url: lane.redirect("phoenix-wallet", to: away.absoluteString, status: 307))
        // The other origin's redirect wants a token, too, and gets none.
        try equal(try await client.data(for: request).1.statusCode, 401)
        let last = try require(try await lane.log("api").last, "a request")
        try expect((last["header_names"] as? [String])?.contains("authorization") == false, "\(last)")
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("a redirect turns a POST into a GET as browsers do, or repeats it with its body") { lane in
        let client = try lane.client("personify")
        for (status, method, bytes) in [(302, "GET", 0), (303, "GET", 0), (307, "POST", 4), (308, "POST", 4)] {
            let request = post(lane.redirect("personify", to: lane.url("echo"), status: status), "body")
            let echo = try object(try await client.data(for: request).0)
            try equal(echo["method"] as? String, method, "\(status):")
            try equal(echo["body_bytes"] as? Int, bytes, "\(status):")
        }
    },

    Test("a redirect that never ends, does") { lane in
        let client = try lane.client("personify")
        // Each hop takes one of them away from the address, and there are more than anybody follows.
        var address = lane.url("echo")
        for _ in 0..<25 { address = lane.redirect("personify", to: address, status: 307).absoluteString }
        let request = URLRequest(url: try require(URL(string: address), "a URL"))
        do {
            _ = try await client.data(for: request)
            throw Unmet("25 redirects were followed")
        } catch let error as URLError {
            try equal(error.code, .httpTooManyRedirects)
        }
    },

    Test("a token is put on no undeclared origin, and nothing is sent there") { lane in
        let client = try lane.client("phoenix-wallet")
        let request = URLRequest(url: try require(URL(string: lane.url("echo", origin: "other")), "a URL"))
        let error = try await refusal("origin_not_allowed") { try await client.data(for: request) }
        try equal(error.family, .usage)
        try equal(try await lane.counter("echo", "total"), 0)
    },

    Test("without a token no request is sent: the error is ours") { lane in
        try await lane.fault(["error": "invalid_client", "count": NSNull()])
        let client = try lane.client("phoenix-wallet")
        try await refusal("invalid_client") {
            try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets")))
        }
        try equal(try await lane.counter("api", "total"), 0)
    },

    Test("the caller's own headers arrive, and ours win over theirs") { lane in
        let client = try lane.client("phoenix-wallet")
        var request = URLRequest(url: lane.redirect("phoenix-wallet", to: lane.url("echo"), status: 307))
        request.setValue("Bearer stale", forHTTPHeaderField: "authorization")
        request.setValue("1", forHTTPHeaderField: "x-own")
        let (data, response) = try await client.data(for: request)
        try equal(response.statusCode, 200)
        let names = try object(data)["header_names"] as? [String] ?? []
        try expect(names.contains("x-own") && names.filter { $0 == "authorization" }.count == 1, "\(names)")
    },

    Test("an API call that is cancelled ends at once") { lane in
        let client = try lane.client("phoenix-wallet")
        _ = try await client.token()
        try await lane.fault(["endpoint": "api", "hold": true])
        let call = Task {
            try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))).1.statusCode
        }
        try await until(.seconds(10)) { try await lane.counter("api", "running") == 1 }
        call.cancel()
        let result = try await within(.seconds(5)) { await call.result }
        guard case .failure(let error) = result, error is CancellationError || (error as? URLError)?.code == .cancelled
        else {
            throw Unmet("came \(result)")
        }
        try await lane.release()
    },

    Test("an API that does not answer ends with the request's own timeout") { lane in
        let client = try lane.client("phoenix-wallet")
        _ = try await client.token()
        try await lane.fault(["endpoint": "api", "hold": true])
        var request = URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))
        request.timeoutInterval = 0.5
        let sent = request
        do {
            _ = try await within(.seconds(10)) { try await client.data(for: sent).1.statusCode }
            throw Unmet("there was an answer")
        } catch let error as URLError {
            try equal(error.code, .timedOut)
        }
        try await lane.release()
    },

    Test("an answer to HEAD, and one without a body") { lane in
        let client = try lane.client("phoenix-wallet")
        var request = URLRequest(url: lane.api("phoenix-wallet", "v1/wallets"))
        request.httpMethod = "HEAD"
        try equal(try await client.data(for: request).0.count, 0)
        try await lane.fault(["endpoint": "api", "status": 204])
        let (data, response) = try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets")))
        try equal(data.count, 0)
        try equal(response.statusCode, 204)
    },

    Test("phoenix-security: a 401 with an empty body and no challenge gets another token") { lane in
        let client = try lane.client("phoenix-security")
        _ = try await client.token()
        try await lane.revoke()
        try equal(
            try await client.data(for: URLRequest(url: lane.api("phoenix-security", "v1/assets"))).1.statusCode, 200)
        try equal(try await lane.tokenRequests(), 2)
    },
]

/// TLS, by what Foundation trusts: on Linux that is the machine's list, and no option changes it.
let trust: [Test] = [
    Test("a certificate that nobody signed is refused before anything is sent, and the error says what to do") { lane in
        let stranger = try lane.client("phoenix-wallet", origin: "https") { $0.policy["attempts"] = 1 }
        let error = try await refusal("transport_failed") { try await stranger.token(timeout: .seconds(2)) }
        try expect(error.hint?.contains("certificate") == true, everythingShown(of: error))
        try equal(try await lane.tokenRequests(), 0)
    },

    Test("over TLS, where the machine trusts the authority") { lane in
        try await TrustList.trusting(lane.authority.certificates) {
            for provider in machine {
                let client = try lane.client(provider, origin: "https")
                let request = URLRequest(url: lane.api(provider, "v1/wallets", origin: "https"))
                try equal(try object(try await client.data(for: request).0)["ok"] as? Bool, true, provider)
                for generation in 2...4 { try equal(try await client.token(force: true).generation, generation) }
                // What is let go of here must take no process with it: Foundation's own sessions once did.
                await client.close()
            }
        }
    },
]

/// Linux' list of certificate authorities, where there is none: in the folder in which the Swift toolchain lives here.
private enum TrustList {
    private static let path = "/etc/ssl/certs/ca-certificates.crt"
    private static let mark = "Made by the tests of remint, and taken away by them.\n"

    /// Runs the work while the machine trusts a file's authorities. A list that is not ours is left alone, and nothing is run.
    static func trusting(_ file: String, _ work: () async throws -> Void) async throws {
        let list = FileManager.default.contents(atPath: path)
        guard list.map({ $0.starts(with: Data(mark.utf8)) }) ?? true else { return }
        let folder = (path as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try (Data(mark.utf8) + Data(contentsOf: URL(fileURLWithPath: file))).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await work()
    }
}

extension Lane {
    /// An address of the provider's API that wants the token, and redirects.
    fileprivate func redirect(_ provider: String, to: String, status: Int, origin: String = "http") -> URL {
        let allowed = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
        let target = to.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
        return api(provider, "v1/redirect?status=\(status)&to=\(target)", origin: origin)
    }
}
