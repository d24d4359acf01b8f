import Foundation
import Native
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// Proofs of possession (RFC 9449) and the other things that an API asks of a client, over real connections.
let proofs: [Test] = [
    Test("a nonce is learned at the token endpoint and at the API, and the body is sent again with the same token") {
        lane in
        try await lane.settings(["token_type": "DPoP"])
        try await lane.fault(["status": 400, "body": #"{"error":"use_dpop_nonce"}"#, "headers": ["DPoP-Nonce": "t1"]])
        // A challenge of this scheme, and one that Foundation knows: its own handling must not take either.
        let challenges = [#"DPoP error="use_dpop_nonce", algs="ES256""#, #"Basic realm="a""#]
        try await lane.fault([
            "endpoint": "api", "status": 401, "headers": ["DPoP-Nonce": "a1", "WWW-Authenticate": challenges],
        ])
        try await lane.fault(["endpoint": "api", "status": 200, "body": #"{"ok":true}"#, "count": NSNull()])
        let client = try bound(lane)
        for _ in 0..<2 {
            let (data, response) = try await within(.seconds(20)) {
                try await client.data(for: post(lane.api("phoenix-wallet", "v1/wallets"), "body"))
            }
            try equal(response.statusCode, 200)
            try equal(try object(data)["ok"] as? Bool, true)
        }
        let log = try await lane.log()
        try equal(
            log.map { "\($0["kind"] ?? "") \($0["status"] ?? "")" },
            ["token 400", "token 200", "api 401", "api 200", "api 200"])
        for entry in log {
            let names = entry["header_names"] as? [String] ?? []
            try equal(names.filter { $0 == "dpop" }.count, 1, "\(entry):")
        }
    },

    Test("a stream is not sent again for a nonce, and that is said") { lane in
        try await lane.settings(["token_type": "DPoP"])
        let challenge = ["DPoP-Nonce": "a1", "WWW-Authenticate": #"DPoP error="use_dpop_nonce""#]
        try await lane.fault(["endpoint": "api", "status": 401, "headers": challenge])
        let notices = Collected<String>()
        let client = try bound(lane) { $0.onNotice = { notices.add($0.name) } }
        var request = post(lane.api("phoenix-wallet", "v1/wallets"), "")
        request.httpBody = nil
        request.httpBodyStream = InputStream(data: Data("once".utf8))
        try equal(try await client.data(for: request).1.statusCode, 401)
        try expect(notices.all.contains("body_not_replayable"), "\(notices.all)")
        try equal(try await lane.counter("api", "total"), 1)
    },

    Test("a redirect to another origin takes the proof off, too") { lane in
        try await lane.settings(["token_type": "DPoP"])
        let client = try bound(lane)
        for (origin, isOurs) in [("http", true), ("other", false)] {
            try await lane.fault(["endpoint": "api", "redirect": lane.url("echo", origin: origin)])
            let (data, _) = try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets")))
            let names = Set(try object(data)["header_names"] as? [String] ?? [])
            try equal(names.isSuperset(of: ["authorization", "dpop"]), isOurs, "\(names):")
            try equal(names.isDisjoint(with: ["authorization", "dpop"]), !isOurs, "\(names):")
        }
    },

    Test("a step-up is a typed error, at 401 and at 403, and costs no token") { lane in
        let client = try lane.client("phoenix-wallet")
        let challenge = #"Bearer error="insufficient_user_authentication", acr_values="gold", max_age=60"#
        for status in [401, 403] {
            try await lane.fault(["endpoint": "api", "status": status, "headers": ["WWW-Authenticate": challenge]])
            let error = try await refusal("insufficient_user_authentication") {
                try await client.data(for: URLRequest(url: lane.api("phoenix-wallet", "v1/wallets")))
            }
            try equal(error.acrValues, "gold")
            try equal(error.maxAge, .seconds(60))
            try equal(error.status, status)
        }
        try equal(try await lane.tokenRequests(), 1)
    },

    Test("a transport of the user's own trusts whom it likes") { lane in
        let authority = lane.authority.certificates
        let client = try lane.client("phoenix-wallet", origin: "https", scope: ["wallets:write"]) {
            $0.transport = certified(certificate: nil, key: nil, authority: authority)
        }
        let request = post(lane.api("phoenix-wallet", "v1/wallets", origin: "https"), "body")
        try equal(try object(try await client.data(for: request).0)["body_bytes"] as? Int, 4)
        let strict = try lane.client("phoenix-wallet", origin: "https") {
            $0.transport = certified(certificate: nil, key: nil, authority: nil)
            $0.policy["attempts"] = 1
        }
        try await refusal("transport_failed") { try await strict.token(timeout: .seconds(2)) }
        try equal(try await lane.tokenRequests(), 1)
    },
]

/// A client whose tokens are bound to a new key.
private func bound(_ lane: Lane, _ configure: (inout Configuration) -> Void = { _ in }) throws -> Client {
    let key = try PrivateKey()
    let dpop = DPoPKey(algorithm: key.algorithm, jwk: try key.jwk) { try key.sign($0) }
    return try lane.client("phoenix-wallet", scope: ["wallets:write"]) {
        $0.dpop = dpop
        configure(&$0)
    }
}
