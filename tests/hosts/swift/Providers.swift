import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

func post(_ url: URL, _ body: String) -> URLRequest {
    var request = URLRequest(url: url)
    request.httpMethod = "POST"
    request.httpBody = Data(body.utf8)
    return request
}

/// Those that give tokens to machines.
let machine = ["phoenix-security", "phoenix-wallet", "phoenix-market", "personify"]

/// What each of the five providers' documentation promises, against a server that checks it strictly.
let providers: [Test] =
    machine.map { provider in
        Test("\(provider): a token, an API call, and recovery after a revocation") { lane in
            let client = try lane.client(provider)
            let api = lane.api(provider, "v1/wallets")
            let first = try object(try await client.data(for: URLRequest(url: api)).0)
            try equal(first["ok"] as? Bool, true)
            try equal(first["token_number"] as? Int, 1)
            try await lane.revoke()
            let second = try object(try await client.data(for: post(api, "x")).0)
            if provider == "phoenix-wallet" {
                // The token was for reading, and the API says so. No other token would help.
                try expect(second["ok"] == nil, "\(second)")
            } else {
                try equal(second["token_number"] as? Int, 2)
                try equal(second["body_bytes"] as? Int, 1)
            }
            let problems = try await lane.log("token").flatMap {
                $0["problems"] as? [String] ?? ["no problems are listed"]
            }
            try equal(problems, [])
        }
    } + [
        Test("rapidomize: the code flow, rotation, and a code that is used twice") { lane in
            let rotated = Collected<String>()
            let client = try lane.client("rapidomize")
            let authorization = try await client.authorizationURL()
            let query = try require(
                URLComponents(url: authorization.url, resolvingAgainstBaseURL: false)?.queryItems, "a query")
            try equal(query.first { $0.name == "code_challenge_method" }?.value, "S256")
            let callback = try await approve(authorization)
            let token = try await client.exchange(callback: callback, session: authorization.session, subject: "alice")
            { rotated.add($0) }
            try equal(token.tokenType, "Bearer")

            let alice = try client.withSubject("alice")
            let api = URLRequest(url: lane.api("rapidomize", "v1/things"))
            try equal(try object(try await alice.data(for: api).0)["ok"] as? Bool, true)
            let next = try await alice.token(force: true)
            try expect(next.accessToken != token.accessToken, "the same token")
            try equal(try object(try await alice.data(for: api).0)["ok"] as? Bool, true)
            try equal(Set(rotated.all).count, 2, "refresh tokens:")

            // The callback is good once.
            let error = try await refusal("state_mismatch") {
                try await client.exchange(callback: callback, session: authorization.session, subject: "alice")
            }
            try expect(!everythingShown(of: error).contains(authorization.session), "the error shows the session")
            // A user whom nobody authorized has no token.
            try await refusal("reauthorization_required") { try await client.withSubject("bob").token() }
        },

        Test("rapidomize: a callback may be a URL, a text, a query or its items") { lane in
            let client = try lane.client("rapidomize")
            func flow(_ exchange: (String, String) async throws -> Token) async throws {
                let authorization = try await client.authorizationURL()
                let callback = try await approve(authorization)
                try equal(try await exchange(callback, authorization.session).tokenType, "Bearer")
            }
            func components(_ callback: String) -> URLComponents { URLComponents(string: callback) ?? URLComponents() }
            try await flow { try await client.exchange(callback: $0, session: $1, subject: "a") }
            try await flow {
                try await client.exchange(callback: require(URL(string: $0), "a URL"), session: $1, subject: "b")
            }
            try await flow {
                try await client.exchange(callback: components($0).percentEncodedQuery ?? "", session: $1, subject: "c")
            }
            try await flow {
                try await client.exchange(callback: components($0).queryItems ?? [], session: $1, subject: "d")
            }
            // A repeated parameter stays repeated: the server's answer was tampered with.
            let authorization = try await client.authorizationURL()
            let items = components(try await approve(authorization)).queryItems ?? []
            try await refusal {
                try await client.exchange(callback: items + items, session: authorization.session, subject: "e")
            }
        },

        Test("rapidomize: a refresh token out of your database, and the new one back into it first") { lane in
            let refreshToken = try await lane.mint(subject: "carol")
            let saved = Collected<String>()
            let carol = try lane.client("rapidomize").withSubject("carol", refreshToken: refreshToken) { next in
                try await Task.sleep(for: .milliseconds(50))
                saved.add(next)
            }
            _ = try await carol.token()
            // It was awaited before the access token was handed out.
            try equal(saved.all.count, 1)
            try expect(saved.all != [refreshToken], "nothing was rotated")
            let again = try lane.client("rapidomize").withSubject("carol", refreshToken: saved.all[0])
            let me = try object(try await again.data(for: URLRequest(url: lane.api("rapidomize", "v1/me"))).0)
            try equal(me["subject"] as? String, "carol")
        },

        Test("rapidomize: a refresh token that cannot be saved is noticed, and the access token handed out") { lane in
            struct Full: Error {}
            let refreshToken = try await lane.mint(subject: "carol")
            let notices = Collected<String>()
            let client = try lane.client("rapidomize") { $0.onNotice = { notices.add($0.name) } }
            let carol = try client.withSubject("carol", refreshToken: refreshToken) { _ in throw Full() }
            try equal(try await carol.token().tokenType, "Bearer")
            try expect(notices.all.contains("persist_failed"), "\(notices.all)")
        },

        Test("rapidomize: an API token goes as Basic, in the header that you choose, or insecurely into a URL") {
            lane in
            let api = lane.api("rapidomize", "v1/things")
            for header in ["Authorization", "x-rpz-auth"] {
                let client = try lane.client("rapidomize", secret: nil) {
                    $0.grant = "api_token"
                    $0.apiToken = Authority.apiToken
                    $0.redirectURI = nil
                    $0.variables["auth_header"] = header
                }
                let answer = try object(try await client.data(for: URLRequest(url: api)).0)
                try equal(answer["ok"] as? Bool, true, "\(answer)")
                try equal(answer["credential"] as? String, "api_token")
                let headers = try await client.headers(method: "GET", url: api)
                try equal(headers.keys.map { $0.lowercased() }, [header.lowercased()])
                let insecure = try await client.insecureURL(api)
                try equal(insecure.headers["cache-control"], "no-store")
                try equal(try await plainly(URLRequest(url: insecure.url)).1.statusCode, 200)
                try expect(!everythingShown(of: insecure).contains("t0ken"), everythingShown(of: insecure))
            }
            try equal(try await lane.tokenRequests(), 0)
        },

        Test("phoenix-market: the page in the iframe takes the token in its URL") { lane in
            let insecure = try await lane.client("phoenix-market").insecureURL(
                lane.api("phoenix-market", "embed?page=1"))
            let query = URLComponents(url: insecure.url, resolvingAgainstBaseURL: false)?.queryItems ?? []
            try equal(query.first { $0.name == "page" }?.value, "1")
            try equal(try await plainly(URLRequest(url: insecure.url)).1.statusCode, 200)
            try await refusal("invalid_option") {
                try await lane.client("phoenix-wallet").insecureURL(lane.api("phoenix-wallet", "x"))
            }
        },

        Test("the second call is answered from the cache, and a token tells what it is") { lane in
            let client = try lane.client("phoenix-wallet")
            try expect(client.peek() == nil, "a token before anybody asked")
            let first = try await client.token()
            try equal(first.scope, "wallets:read")
            try equal(first.generation, 1)
            try equal(first.authorization, "Bearer \(first.accessToken)")
            let left = first.expiresIn()
            try expect(left > .seconds(3590) && left <= .seconds(3600), "\(left) left")
            try equal(try await client.token().accessToken, first.accessToken)
            try equal(client.peek()?.accessToken, first.accessToken)
            try expect(!everythingShown(of: first).contains(first.accessToken), everythingShown(of: first))
            try expect(!everythingShown(of: client).contains("s3cret"), everythingShown(of: client))
            try equal(try await lane.tokenRequests(), 1)
        },

        Test("force, minTTL and invalidate each get another token") { lane in
            let client = try lane.client("phoenix-wallet")
            var tokens = [try await client.token().accessToken, try await client.token(force: true).accessToken]
            await client.invalidate()
            try expect(client.peek() == nil, "an invalidated token is there")
            tokens.append(try await client.token().accessToken)
            try equal(Set(tokens).count, 3)
            let error = try await refusal("min_ttl_unavailable") { try await client.token(minTTL: .seconds(7200)) }
            let lifetime = try require(error.lifetime, "the lifetime that the server gives")
            try expect(lifetime > .seconds(3590) && lifetime <= .seconds(3600), "\(lifetime)")
        },

        Test("scopes and subjects have tokens of their own, whatever the scopes' order") { lane in
            let client = try lane.client("phoenix-wallet")
            let other = client.withScope(["wallets:write", "ledger:read"])
            try expect(
                try await client.token().accessToken != other.token().accessToken, "one token for two scope sets")
            let same = client.withScope(["ledger:read", "wallets:write"])
            try equal(try await same.token().accessToken, try await other.token().accessToken)
            try equal(try await lane.tokenRequests(), 2)
        },

        Test("a provided secret is asked for at each token request") { lane in
            let calls = Collected<Int>()
            var configuration = Configuration()
            configuration.allowLoopbackHTTP = true
            configuration.variables["token_endpoint"] = lane.url("phoenix-wallet/oauth/token")
            let client = try Client(
                "phoenix-wallet", clientID: Authority.clientID, scope: ["wallets:read"], configuration: configuration
            ) {
                try await Task.sleep(for: .milliseconds(1))
                calls.add(1)
                return calls.all.count == 1 ? "wrong" : Authority.secret
            }
            let error = try await refusal("invalid_client") { try await client.token() }
            try equal(error.status, 401)
            // The next attempt is allowed when the pause is over.
            let pause = try require(error.retryAfter, "a pause")
            try await until(pause + .seconds(10)) { (try? await client.token()) != nil }
            try equal(calls.all.count, 2)
        },

        Test("a rejected token is replaced, by those who send requests themselves") { lane in
            let client = try lane.client("phoenix-wallet")
            let api = lane.api("phoenix-wallet", "v1/wallets")
            _ = try await client.token()
            let token = try await client.token()
            let challenge: [HTTPHeader] = [("WWW-Authenticate", #"Bearer error="invalid_token""#)]
            try equal(try await client.reject(token, method: "GET", url: api, status: 401, headers: challenge), true)
            try expect(try await client.token().accessToken != token.accessToken, "the same token")
            try equal(try await client.reject(token, method: "GET", url: api, status: 200), false)
        },

        Test("a fixed token asks nobody, and goes only where it may") { _ in
            let client = try Client.fixed("canary", apiOrigins: ["https://api.example"])
            try equal(try await client.token().authorization, "Bearer canary")
            let api = try require(URL(string: "https://api.example/x"), "a URL")
            try equal(try await client.headers(method: "GET", url: api), ["Authorization": "Bearer canary"])
            let elsewhere = try require(URL(string: "https://evil.example/x"), "a URL")
            let error = try await refusal("origin_not_allowed") {
                try await client.headers(method: "GET", url: elsewhere)
            }
            try expect(
                error.message.contains("evil.example") && !everythingShown(of: error).contains("canary"), "\(error)")
        },

        Test("a shared store hands the token to the next process") { lane in
            let shelf = Shelf()
            let one = try lane.client("phoenix-wallet") { $0.store = shelf }
            let first = try await one.token()
            let (records, locks) = shelf.count()
            try expect(records == 1 && locks == 0, "\(records) records, \(locks) locks")
            let second = try await lane.client("phoenix-wallet") { $0.store = shelf }.token()
            try equal(second.accessToken, first.accessToken)
            try equal(try await lane.tokenRequests(), 1)
        },

        Test("a host that freezes between requests renews inside of a call") { lane in
            let clock = MovedClock()
            let client = try lane.client("phoenix-wallet") {
                $0.backgroundRefresh = false
                $0.clock = clock
            }
            let first = try await client.token().accessToken
            try await lane.settings(["token_latency_ms": 200])
            clock.move(to: hour - 200_000)
            let tokens = try await within(.seconds(40)) {
                await crowd(20) { _ in try await client.token().accessToken }
            }
            let different = try Set(tokens.map { try $0.get() })
            try expect(different.count == 2 && different.contains(first), "\(different.count) different tokens")
            try equal(try await lane.tokenRequests(), 2)
        },

        Test("wrong options and arguments are named, and never trap") { lane in
            let wrong: [(String, @Sendable (inout Configuration) -> Void)] = [
                ("soft_margn", { $0.policy["soft_margn"] = 3 }),
                ("policy", { $0.policy["soft_margin"] = .number(.nan) }),
                ("requestTimeout", { $0.requestTimeout = .seconds(-1) }),
                ("requestTimeout", { $0.requestTimeout = .seconds(Int64.max) }),
                ("tenant", { $0.variables["tenant"] = "x" }),
                ("apiOrigins", { $0.apiOrigins = ["not an origin"] }),
                ("parameters", { $0.parameters = ["grant_type": "x"] }),
            ]
            for (name, configure) in wrong {
                let error = try await refusal { try lane.client("phoenix-wallet", configure) }
                try equal(error.family, .usage, "\(error):")
                try expect(error.description.contains(name), "`\(name)` is not named: \(error)")
                try expect(!everythingShown(of: error).contains("s3cret"), "\(error)")
            }
            try await refusal { try lane.client("phoenix-wallet", scope: ["two\nlines"]) }
            try await refusal { try lane.client("phoenix-wallet", secret: "nul\0") }
            try await refusal("invalid_profile") { try Client("{]", clientID: "x", clientSecret: "y") }
            let misspelt = try await refusal { try Client("phoenix-walet", clientID: "x", clientSecret: "y") }
            try expect(misspelt.description.contains("phoenix-wallet"), "\(misspelt)")

            let client = try lane.client("phoenix-wallet")
            try await refusal("invalid_option") { try await client.token(minTTL: .seconds(-1)) }
            try await refusal("invalid_option") { try await client.token(timeout: .milliseconds(-1)) }
            try await refusal("min_ttl_unavailable") { try await client.token(minTTL: .seconds(Int64.max)) }
            try equal(try await client.token(timeout: .seconds(Int64.max)).tokenType, "Bearer")
            let relative = try require(URL(string: "relative"), "a URL")
            try await refusal { try await client.headers(method: "GET", url: relative) }
            try await refusal { try await client.insecureURL(relative) }
            try await refusal { try await client.exchange(callback: "", session: "") }
            try await refusal { try client.withSubject("", refreshToken: "nul\0") }
        },
    ]

/// What the authority's page does at once: it sends the browser back.
private func approve(_ authorization: Authorization) async throws -> String {
    let (_, response) = try await plainly(URLRequest(url: authorization.url))
    return try require(response.value(forHTTPHeaderField: "location"), "a redirect, instead of \(response.statusCode)")
}

/// A shared store in memory, whose records never end.
///
/// `@unchecked`: every access to what can change is made under `guarded`.
private final class Shelf: Store, @unchecked Sendable {
    private let guarded = NSLock()
    private var records: [String: String] = [:]
    private var owners: [String: String] = [:]

    func count() -> (records: Int, locks: Int) {
        guarded.withLock { (records.count, owners.count) }
    }

    func load(_ key: String) -> String? {
        guarded.withLock { records[key] }
    }

    func lock(_ key: String, owner: String, ttl: Duration) -> StoreLock {
        guarded.withLock {
            if let other = owners[key], other != owner { return .held(retryIn: .seconds(1), record: records[key]) }
            owners[key] = ttl == .zero ? nil : owner
            return .locked(record: records[key])
        }
    }

    func save(_ key: String, expect: String?, record: String, ttl: Duration, unlock: String?) -> StoreSave {
        guarded.withLock {
            guard records[key] == expect else { return .conflict(record: records[key]) }
            records[key] = record
            if owners[key] == unlock { owners[key] = nil }
            return .saved
        }
    }
}
