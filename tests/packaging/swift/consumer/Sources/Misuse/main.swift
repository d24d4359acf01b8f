import Foundation
import Remint
import RemintCore

// Everything that the compiler lets through and that makes no sense: each ends with a typed error or is taken, and none with a
// trap. The last line says how many there were.
var count = 0

@MainActor
func attempt(_ act: @MainActor () async throws -> Void) async {
    count += 1
    do {
        try await act()
    } catch let error as RemintError {
        precondition(!error.code.isEmpty && !error.message.isEmpty && !"\(error)".contains("canary"), "\(error)")
    } catch let error as CoreError {
        precondition(!"\(error)".contains("canary"), "\(error)")
    } catch {
        preconditionFailure("not typed: \(error)")
    }
}

let texts = [
    "", " ", "\0", "\u{1}", "a\r\nb", "ü", "\u{202e}", "{", "[]", "null", "{\"name\":1}",
    String(repeating: "x", count: 100_000),
]
let durations: [Duration] = [
    .zero, .nanoseconds(1), .seconds(-1), .seconds(Int64.max), .seconds(Int64.min), .milliseconds(1),
]
let urls = ["", "x", "//", "https://", "file:///etc/passwd", "http://127.0.0.1:1/", "https://a@b:1/?#", "data:,x"]
let integers: [Int64] = [.min, -1, 0, 1, .max]

// Options.
for text in texts {
    await attempt { _ = try Client(text) }
    await attempt { _ = try Client("phoenix-wallet", clientID: text, clientSecret: "canary") }
    await attempt { _ = try Client("phoenix-wallet", clientID: "id", clientSecret: "canary\(text)", scope: [text]) }
    await attempt { _ = try Client.fixed("canary\(text)", apiOrigins: [text]) }
    for change in [
        { $0.variables = [text: text] }, { $0.parameters = [text: text] }, { $0.apiOrigins = [text] },
        { $0.policy = [text: .word(text)] },
        { $0.audience = [text] }, { $0.resource = [text] }, { $0.grant = text }, { $0.clientAuth = text },
        { $0.redirectURI = text }, { $0.signingKey = SigningKey(name: text, algorithm: text, keyID: text) { $0 } },
        { $0.signingKey = SigningKey(name: text, algorithms: []) { input, _ in input } },
        { $0.dpop = DPoPKey(algorithm: text, jwk: [text: "canary"]) { $0 } },
        { $0.dpop = DPoPKey(algorithm: "ES256", jwk: ["kty": "EC", "crv": "P-256", "x": text, "d": "canary"]) { $0 } },
        { $0.certificateThumbprint = text }, { $0.assertionAudience = text }, { $0.authorizationDetails = text },
        { $0.subjectTokenType = text }, { $0.assertionClaims = [text: "canary"] }, { $0.clientAssertionFile = text },
        { $0.subjectTokenFile = text },
    ] as [(inout Configuration) -> Void] {
        var configuration = Configuration()
        change(&configuration)
        await attempt {
            _ = try Client("phoenix-wallet", clientID: "id", clientSecret: "canary", configuration: configuration)
        }
    }
}
for duration in durations {
    var configuration = Configuration()
    configuration.requestTimeout = duration
    configuration.policy = ["soft_margin": .duration(duration)]
    await attempt {
        _ = try Client("phoenix-wallet", clientID: "id", clientSecret: "canary", configuration: configuration)
    }
}
for number in [Double.nan, .infinity, -.infinity, -1, .greatestFiniteMagnitude, .leastNonzeroMagnitude] {
    var configuration = Configuration()
    configuration.policy = ["soft_margin": .number(number), "max_keys": .number(number)]
    await attempt {
        _ = try Client("phoenix-wallet", clientID: "id", clientSecret: "canary", configuration: configuration)
    }
}

// Verbs, of a client that is open and of one that is closed, whose transport answers nonsense.
for isClosed in [false, true] {
    var configuration = Configuration()
    configuration.policy = ["attempts": 1]
    configuration.transport = { request in
        let status = [-1, 0, 99, 200, 70_000, .max, .min].randomElement()!
        return HTTPResponse(
            status: status, headers: [("", "\r\n"), ("canary", "\0")], body: Data(repeating: 0x7b, count: 10))
    }
    configuration.requestTimeout = .milliseconds(200)
    configuration.onNotice = { precondition(!"\($0)".contains("canary")) }
    let client = try Client("phoenix-wallet", clientID: "id", clientSecret: "canary", configuration: configuration)
    let token = try await Client.fixed("canary").token()
    if isClosed { await client.close() }
    await attempt { _ = try await client.token(timeout: .milliseconds(50)) }
    for duration in durations {
        await attempt {
            _ = try await client.backchannelAuthentication(
                loginHint: "canary", requestedExpiry: duration, timeout: duration)
        }
        let fixed = try Client.fixed("canary")
        if isClosed { await fixed.close() }
        await attempt { _ = try await fixed.token(minTTL: duration) }
        await attempt { _ = try await fixed.token(timeout: duration) }
    }
    _ = client.peek()
    for text in urls {
        guard let url = URL(string: text) else { continue }
        await attempt { _ = try await client.headers(method: text, url: url) }
        await attempt { _ = try await client.insecureURL(url) }
        for status in [Int.min, -1, 0, 200, 401, .max] {
            await attempt {
                _ = try await client.reject(
                    token, method: text, url: url, status: status, headers: [("WWW-Authenticate", text)])
            }
        }
    }
    for text in texts {
        await attempt {
            _ = try await client.authorizationURL(redirectURI: text, scope: [text], parameters: [text: text])
        }
        await attempt { _ = try await client.exchange(callback: text, session: "canary\(text)", subject: text) }
        await attempt { _ = try await client.exchange(callback: [URLQueryItem(name: text, value: nil)], session: text) }
        await attempt { _ = try client.withSubject(text, refreshToken: "canary\(text)") }
        await attempt { _ = try client.withSubject(text, subjectToken: "canary\(text)", actorToken: text) }
        await attempt { _ = try await client.deviceAuthorization(scope: [text], parameters: [text: text]) }
        await attempt { _ = try await client.poll(session: "canary\(text)", subject: text, timeout: .milliseconds(50)) }
        await attempt { _ = try await client.introspect("canary\(text)", hint: text) }
        await attempt { try await client.revoke("canary\(text)", hint: text) }
        await attempt { try client.renewed(certificateThumbprint: text) }
        await attempt { try client.renewed(dpop: DPoPKey(algorithm: text, jwk: [text: "canary"]) { $0 }) }
        await attempt { _ = try await client.withResource([text]).token(timeout: .milliseconds(50)) }
        await attempt { _ = try await client.withScope([text, text]).token(timeout: .milliseconds(50)) }
    }
    await client.invalidate()
    await client.close()
    await client.close()
}

// The step machine: ids that it never gave, numbers beyond everything, no entropy.
await attempt { _ = try Core(options: Secret("canary")) }
let core = try Core(options: Secret(#"{"profile": "phoenix-wallet", "client_id": "id", "client_secret": "canary"}"#))
for number in integers {
    let now = Now(wall: number, boot: number)
    for id in ["", "f1", "o1", "c1", "f99999999999999999999", "canary"] {
        let events: [Event] = [
            .ask(want: Want(), minTtl: number, force: true, deadline: number, after: id, call: id), .cancel(flight: id),
            .tick(flight: id),
            .received(op: id, status: Int32(clamping: number), headers: [], body: SecretBytes(Data())),
            .failed(op: id, kind: .notSent),
            .provided(op: id, value: Secret("canary")), .signed(op: id, signature: id), .verified(op: id, valid: true),
            .stored(op: id, result: .held(retryAt: number, record: Secret("canary"))),
            .stored(op: id, result: .locked(record: nil)), .changed(key: id),
            .invalidate(want: Want(subject: id)),
            .attach(want: Want(), call: id, method: id, url: id, insecureQuery: true, after: id),
            .start(flow: .poll(poll: Poll(session: Secret("canary"))), deadline: number, after: id),
            .start(flow: .revoke(revoke: Revoke(want: Want())), deadline: number, after: id),
            .renewed(renewed: Renewed(tlsId: id, signingKey: "canary", dpop: "canary")),
            .answered(want: Want(), call: id, url: id, status: Int32(clamping: number), headers: []), .forked,
        ]
        for event in events {
            count += 1
            let step = core.handle(event: event, now: now, entropy: Data(count: id.isEmpty ? 0 : 32))
            precondition(!"\(step)".contains("canary"), "\(step)")
        }
    }
}
await attempt {
    let exchange = try core.build(request: .clientCredentials(scope: nil))
    for status: Int32 in [.min, 200, .max] {
        await attempt {
            _ = try exchange.finish(
                status: status, headers: [], body: SecretBytes(Data()), started: Now(wall: .max, boot: .min))
        }
    }
}
_ = core.handle(event: .close, now: Now(wall: 0, boot: 0), entropy: Data(count: 32))
print("\(count) refused or taken")
