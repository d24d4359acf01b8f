import Foundation
import RemintCore

/// The typed events of the binding, out of what a vector says.
enum Events {
    static func want(_ value: JSON?) throws -> Want {
        guard let value else { return Want() }
        var fields = try Fields("`want`", value)
        let want = Want(
            subject: try fields.string("subject"), scope: try fields.strings("scope"),
            resource: try fields.strings("resource"))
        try fields.end()
        return want
    }

    static func flow(_ value: JSON) throws -> Flow {
        let (name, content) = try variant(value, "a flow")
        var fields = try Fields("`\(name)`", content)
        let flow: Flow
        switch name {
        case "authorization_url":
            flow = .authorizationUrl(
                redirectUri: try fields.string("redirect_uri") ?? "", scope: try fields.strings("scope"),
                parameters: try parameters(fields.take("parameters")),
                authorizationDetails: json(fields.take("authorization_details")))
        case "exchange":
            flow = .codeExchange(
                callback: try secret("callback", &fields), session: try secret("session", &fields),
                subject: try fields.string("subject"), onRotated: try fields.bool("on_rotated") ?? false)
        case "adopt":
            flow = .adopt(
                adopt: Adopt(
                    want: try want(fields.take("want")), refreshToken: try optional("refresh_token", &fields),
                    subjectToken: try optional("subject_token", &fields),
                    actorToken: try optional("actor_token", &fields),
                    onRotated: try fields.bool("on_rotated") ?? false))
        case "device":
            flow = .device(
                scope: try fields.strings("scope"), parameters: try parameters(fields.take("parameters")))
        case "backchannel":
            flow = .backchannel(
                request: Backchannel(
                    scope: try fields.strings("scope"), loginHint: try fields.string("login_hint"),
                    loginHintToken: try optional("login_hint_token", &fields),
                    idTokenHint: try optional("id_token_hint", &fields),
                    bindingMessage: try fields.string("binding_message"),
                    userCode: try optional("user_code", &fields),
                    requestedExpiry: try fields.integer("requested_expiry"),
                    acrValues: try fields.string("acr_values"),
                    parameters: try parameters(fields.take("parameters"))))
        case "poll":
            flow = .poll(
                poll: Poll(
                    session: try secret("session", &fields), subject: try fields.string("subject"),
                    onRotated: try fields.bool("on_rotated") ?? false))
        case "introspect":
            flow = .introspect(
                introspect: Introspect(token: try secret("token", &fields), hint: try fields.string("hint")))
        case "revoke":
            flow = .revoke(
                revoke: Revoke(
                    want: try want(fields.take("want")), token: try optional("token", &fields),
                    hint: try fields.string("hint")))
        default: throw Problem("  the flow `\(name)` is not understood")
        }
        try fields.end()
        return flow
    }

    /// What the host has replaced. The keys are objects, or their text.
    static func renewed(_ value: JSON) throws -> Renewed {
        var fields = try Fields("`renewed`", value)
        let renewed = Renewed(
            tlsId: try fields.string("tls_id"), signingKey: json(fields.take("signing_key")),
            dpop: json(fields.take("dpop")))
        try fields.end()
        return renewed
    }

    static func failureKind(_ name: String?) throws -> FailureKind {
        switch name {
        case "not_sent": return .notSent
        case "maybe_sent": return .maybeSent
        case "timeout": return .timeout
        case "too_large": return .tooLarge
        case "abandoned": return .abandoned
        case "host_error": return .hostError
        default: throw Problem("  the kind `\(name ?? "")` is not understood")
        }
    }

    static func storeResult(_ value: JSON) throws -> StoreResult {
        switch value {
        case "ok": return .ok
        case "none": return .missing
        case "down": return .down
        case "unknown": return .unknown
        default: break
        }
        let (name, content) = try variant(value, "a store's result")
        if name == "record" {
            guard let record = content.string else { throw Problem("  `record` must be a string") }
            return .found(record: Secret(record))
        }
        var fields = try Fields("`\(name)`", content)
        let record = try fields.string("record").map { Secret($0) }
        let result: StoreResult
        switch name {
        case "locked": result = .locked(record: record)
        case "held": result = .held(retryAt: try integer("retry_at", &fields), record: record)
        case "conflict": result = .conflict(record: record)
        default: throw Problem("  the store's result `\(name)` is not understood")
        }
        try fields.end()
        return result
    }

    static func tokenRequest(_ value: JSON) throws -> TokenRequest {
        let (name, content) = try variant(value, "a token request")
        var fields = try Fields("`\(name)`", content)
        let request: TokenRequest
        switch name {
        case "client_credentials": request = .clientCredentials(scope: try fields.strings("scope"))
        case "refresh":
            request = .refresh(refreshToken: try secret("refresh_token", &fields), scope: try fields.strings("scope"))
        case "code":
            request = .code(
                code: try secret("code", &fields), redirectUri: try fields.string("redirect_uri") ?? "",
                verifier: try secret("verifier", &fields))
        case "device_code": request = .deviceCode(deviceCode: try secret("device_code", &fields))
        case "ciba": request = .ciba(authReqId: try secret("auth_req_id", &fields))
        case "token_exchange":
            request = .tokenExchange(
                subjectToken: try secret("subject_token", &fields),
                actorToken: try optional("actor_token", &fields), scope: try fields.strings("scope"))
        case "jwt_bearer":
            request = .jwtBearer(
                assertion: try secret("assertion", &fields), scope: try fields.strings("scope"))
        case "basic_get": request = .basicGet
        default: throw Problem("  the token request `\(name)` is not understood")
        }
        try fields.end()
        return request
    }

    static func registrationRequest(_ value: JSON) throws -> RegistrationRequest {
        let (name, content) = try variant(value, "a registration request")
        var fields = try Fields("`\(name)`", content)
        func uri() throws -> String { try fields.string("registration_client_uri") ?? "" }
        func token() throws -> Secret { try secret("registration_access_token", &fields) }
        let request: RegistrationRequest
        switch name {
        case "register":
            request = .register(
                metadata: try secret("metadata", &fields),
                initialAccessToken: try optional("initial_access_token", &fields),
                softwareStatement: try fields.string("software_statement"))
        case "read": request = .read(registrationClientUri: try uri(), registrationAccessToken: try token())
        case "update":
            request = .update(
                registrationClientUri: try uri(), registrationAccessToken: try token(),
                clientId: try fields.string("client_id"), clientSecret: try optional("client_secret", &fields),
                metadata: try secret("metadata", &fields))
        case "delete": request = .delete(registrationClientUri: try uri(), registrationAccessToken: try token())
        default: throw Problem("  the registration request `\(name)` is not understood")
        }
        try fields.end()
        return request
    }

    static func headers(_ lines: [(name: String, value: String)]) -> [Header] {
        lines.map { Header(name: $0.name, value: Secret($0.value)) }
    }

    /// What no host should send. A typed event has no room for most of it: what the compiler leaves to be got wrong are the
    /// ids, which are strings. So the garbage comes as one, and the answer is held to what the vector expects.
    /// What is replaced comes as text in a typed event, too.
    static func garbage(_ value: JSON) throws -> Event {
        if let what = value["renewed"] { return .renewed(renewed: try renewed(what)) }
        return .tick(flight: value.text)
    }

    /// An object with exactly one member.
    private static func variant(_ value: JSON, _ what: String) throws -> (name: String, content: JSON) {
        guard case .object(let members) = value, members.count == 1, let member = members.first else {
            throw Problem("  \(what) must be an object with one member: \(value.text)")
        }
        return (member.key, member.value)
    }

    private static func secret(_ name: String, _ fields: inout Fields) throws -> Secret {
        guard let text = try fields.string(name) else { throw Problem("  `\(name)` is missing") }
        return Secret(text)
    }

    private static func optional(_ name: String, _ fields: inout Fields) throws -> Secret? {
        try fields.string(name).map { Secret($0) }
    }

    /// What is JSON in an event's text.
    private static func json(_ value: JSON?) -> String? {
        value == .null ? nil : value.map { $0.string ?? $0.text }
    }

    private static func integer(_ name: String, _ fields: inout Fields) throws -> Int64 {
        guard let number = try fields.integer(name) else { throw Problem("  `\(name)` is missing") }
        return number
    }

    private static func parameters(_ value: JSON?) throws -> [String: String] {
        guard let value else { return [:] }
        guard case .object(let members) = value else { throw Problem("  `parameters` must be an object") }
        return try members.mapValues {
            guard let text = $0.string else { throw Problem("  parameters must be strings") }
            return text
        }
    }
}
