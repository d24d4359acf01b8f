import Foundation
internal import RemintCore

/// Registers clients at one server (RFC 7591), and looks after what was registered (RFC 7592).
///
/// ```swift
/// let registrar = try Registrar("discovery", configuration: configuration)
/// let client = try await registrar.register(.register(metadata: #"{"client_name": "Nightly job"}"#))
/// ```
///
/// It holds nothing, and any number of tasks may use it.
public struct Registrar: Sendable {
    private let core: RemintCore.Registrar
    private let http: any HTTPClient
    private let clock: SystemOrTestClock
    private let timeout: Duration
    private let cap: Int

    /// Makes what registers clients at a server.
    ///
    /// - Parameters:
    ///   - profile: The name of a built-in profile, or the text of a profile document.
    ///   - configuration: What is of use before there is a client: `variables`, `allowLoopbackHTTP`, `policy`,
    ///     `requestTimeout`, `transport`, `urlSession` and `clock`.
    /// - Throws: ``RemintError`` with the code `invalid_option` or `invalid_profile`.
    public init(_ profile: String, configuration: Configuration = Configuration()) throws {
        timeout = configuration.requestTimeout ?? .seconds(10)
        guard timeout >= .milliseconds(1), timeout <= .seconds(600) else {
            throw RemintError.misuse(
                "option `requestTimeout` is `\(timeout)`: a duration from 1 millisecond to 10 minutes is allowed")
        }
        let options = try configuration.registrarOptions(profile: profile)
        core = try told { try RemintCore.Registrar(options: Secret(options)) }
        http = configuration.http
        clock = SystemOrTestClock(test: configuration.clock)
        // The core has checked it.
        if case .number(let number) = configuration.policy["answer_cap"] { cap = Int(number) } else { cap = 262_144 }
    }

    /// Registers a client, or looks after a registration.
    ///
    /// Each request is sent once, because a server that saw it may have done what was asked: that goes for a task that is
    /// cancelled, too. Where the server's metadata has to be read first there are up to three, each of which may take as
    /// long as the option `requestTimeout` says.
    ///
    /// - Returns: The client as it is registered now; nothing once it is deleted.
    /// - Throws: ``RemintError`` with what the server says: `invalid_redirect_uri`, `invalid_client_metadata`,
    ///   `invalid_software_statement` and `unapproved_software_statement` (RFC 7591 section 3.2.2), `invalid_client` where it
    ///   does not accept the token. `CancellationError` when the calling task is cancelled.
    public func register(_ request: RegistrationRequest) async throws -> RegisteredClient? {
        var next = try told { try core.build(request: request.core) }
        while true {
            let answer = try await send(next.request())
            let headers = answer.headers.map { Header(name: $0.name, value: Secret($0.value)) }
            let registered = try told {
                try next.finish(
                    status: Int32(clamping: answer.status), headers: headers, body: SecretBytes(answer.body),
                    now: clock.now())
            }
            switch registered {
            case .next(let registration): next = registration
            case .client(let client): return RegisteredClient(client)
            case .deleted: return nil
            }
        }
    }

    private func send(_ told: HttpRequest) async throws -> HTTPResponse {
        guard let url = URL(string: told.url.expose()) else {
            throw RemintError.misuse("the registration endpoint's URL is none that Foundation accepts")
        }
        let request = HTTPRequest(
            method: told.method, url: url, headers: told.headers.map(\.line),
            body: told.body.map { Data($0.expose().utf8) }, timeout: timeout, cap: cap)
        do {
            let answer = try await first(of: request)
            guard answer.body.count <= cap else { throw TransportFailure(.tooLarge) }
            return answer
        } catch {
            // It is the caller's own, and not an error.
            try Task.checkCancellation()
            throw lost(error)
        }
    }

    /// The answer, or whatever ends the waiting for it: then it is given up, even if the transport goes on.
    private func first(of request: HTTPRequest) async throws -> HTTPResponse {
        let (answers, answer) = AsyncThrowingStream.makeStream(of: HTTPResponse.self)
        let sending = Task {
            do {
                answer.yield(try await http.send(request, like: nil))
            } catch {
                answer.finish(throwing: error)
            }
        }
        let end = clock.boot().addingClamped(timeout.milliseconds)
        let timer = Task {
            await clock.sleep(until: end)
            answer.finish(throwing: TransportFailure(.timeout))
        }
        defer {
            sending.cancel()
            timer.cancel()
        }
        for try await answer in answers { return answer }
        throw CancellationError()
    }
}

/// What to ask of the server. It may hold secrets, and printing it shows none of them.
public enum RegistrationRequest: Sendable {
    /// A new client (RFC 7591 section 3.1). `metadata` is a JSON object as text (section 2), `initialAccessToken` what
    /// permits the registration where the server wants that, and `softwareStatement` a JWT of somebody whom it trusts.
    case register(metadata: String, initialAccessToken: String? = nil, softwareStatement: String? = nil)

    /// What the server has registered (RFC 7592 section 2.1).
    case read(registrationClientURI: String, registrationAccessToken: String)

    /// Other metadata in the place of all that was registered (RFC 7592 section 2.2). `clientID` is needed unless it is in the
    /// metadata, `clientSecret` where the server wants to see it again.
    case update(
        registrationClientURI: String, registrationAccessToken: String, metadata: String, clientID: String? = nil,
        clientSecret: String? = nil)

    /// The end of a registration (RFC 7592 section 2.3).
    case delete(registrationClientURI: String, registrationAccessToken: String)

    /// What the server has registered of this client.
    ///
    /// - Throws: ``RemintError`` with the code `invalid_option` if the server offers no management of it.
    public static func read(_ client: RegisteredClient) throws -> RegistrationRequest {
        let (uri, token) = try client.access
        return .read(registrationClientURI: uri, registrationAccessToken: token)
    }

    /// Other metadata for this client: all of it, not only what is new.
    ///
    /// - Throws: ``RemintError`` with the code `invalid_option` if the server offers no management of it.
    public static func update(_ client: RegisteredClient, metadata: String) throws -> RegistrationRequest {
        let (uri, token) = try client.access
        return .update(
            registrationClientURI: uri, registrationAccessToken: token, metadata: metadata, clientID: client.clientID,
            clientSecret: client.clientSecret)
    }

    /// The end of this client.
    ///
    /// - Throws: ``RemintError`` with the code `invalid_option` if the server offers no management of it.
    public static func delete(_ client: RegisteredClient) throws -> RegistrationRequest {
        let (uri, token) = try client.access
        return .delete(registrationClientURI: uri, registrationAccessToken: token)
    }

    fileprivate var core: RemintCore.RegistrationRequest {
        switch self {
        case .register(let metadata, let token, let statement):
            .register(
                metadata: Secret(metadata), initialAccessToken: token.map(Secret.init), softwareStatement: statement)
        case .read(let uri, let token): .read(registrationClientUri: uri, registrationAccessToken: Secret(token))
        case .update(let uri, let token, let metadata, let id, let secret):
            .update(
                registrationClientUri: uri, registrationAccessToken: Secret(token), clientId: id,
                clientSecret: secret.map(Secret.init), metadata: Secret(metadata))
        case .delete(let uri, let token): .delete(registrationClientUri: uri, registrationAccessToken: Secret(token))
        }
    }
}

/// A client as the server has registered it (RFC 7591 section 3.2.1).
///
/// Keep it, with its secrets: some servers show them once. Printing, dumping or reflecting it shows none of them.
public struct RegisteredClient: Sendable {
    /// The client's identifier.
    public let clientID: String

    /// Its secret, if it has one.
    public let clientSecret: String?

    /// When it was registered, where the server says so.
    public let clientIDIssuedAt: Date?

    /// When the secret ends; nothing if it does not.
    public let clientSecretExpiresAt: Date?

    /// What permits to look after the registration (RFC 7592 section 3), where the server offers that: a secret.
    public let registrationAccessToken: String?

    /// Where the registration is.
    public let registrationClientURI: String?

    /// What the server registered, which may differ from what was asked for: a JSON object as text.
    public let json: String

    /// The members of that.
    public var metadata: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(json.utf8))) as? [String: Any] ?? [:]
    }

    init(_ client: ClientInformation) {
        clientID = client.clientId
        clientSecret = client.clientSecret?.expose()
        clientIDIssuedAt = client.clientIdIssuedAt.map { Date(timeIntervalSince1970: Double($0)) }
        clientSecretExpiresAt = client.clientSecretExpiresAt.map { Date(timeIntervalSince1970: Double($0)) }
        registrationAccessToken = client.registrationAccessToken?.expose()
        registrationClientURI = client.registrationClientUri
        json = client.metadata
    }

    fileprivate var access: (uri: String, token: String) {
        get throws {
            guard let registrationClientURI, let registrationAccessToken else {
                throw RemintError.misuse(
                    "the server gave no `registrationClientURI` and `registrationAccessToken` with this client: it offers no management (RFC 7592)"
                )
            }
            return (registrationClientURI, registrationAccessToken)
        }
    }
}

extension Registrar: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "Registrar" }
    public var debugDescription: String { description }
    /// Has no children: `dump` and `Mirror` find nothing.
    public var customMirror: Mirror { Mirror(self, children: [:], displayStyle: .struct) }
}

extension RegistrationRequest: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        switch self {
        case .register: "RegistrationRequest.register((redacted))"
        case .read: "RegistrationRequest.read((redacted))"
        case .update: "RegistrationRequest.update((redacted))"
        case .delete: "RegistrationRequest.delete((redacted))"
        }
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: [:], displayStyle: .enum) }
}

extension RegisteredClient: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "RegisteredClient(\(clientID))" }
    public var debugDescription: String { description }

    public var customMirror: Mirror {
        let children: KeyValuePairs<String, Any> = [
            "clientID": clientID, "clientIDIssuedAt": clientIDIssuedAt as Any,
            "clientSecretExpiresAt": clientSecretExpiresAt as Any,
            "registrationClientURI": registrationClientURI as Any,
        ]
        return Mirror(self, children: children, displayStyle: .struct)
    }
}

extension Configuration {
    /// The options as far as there is no client yet.
    fileprivate func registrarOptions(profile: String) throws -> String {
        var options = try options(profile: profile, clientID: nil, clientSecret: .none, scope: nil)
        // Kept here.
        options["request_timeout"] = nil
        if backgroundRefresh { options["aside"] = nil }
        return try text(of: options)
    }
}

/// What the core gives, or the error that it refuses with.
private func told<T>(_ ask: () throws -> T) throws -> T {
    do {
        return try ask()
    } catch CoreError.Refused(let failure) {
        throw RemintError(failure)
    }
}

/// There is no answer. Only what surely did not leave may be sent again.
private func lost(_ error: any Error) -> RemintError {
    let kind = failureKind(error)
    let (code, message) =
        switch kind {
        case .notSent: ("transport_failed", "the server can't be reached")
        case .timeout: ("timeout", "there was no answer in time: the server may have done what was asked")
        case .tooLarge: ("answer_too_large", "the answer is too long to be one of a registration")
        default:
            ("transport_failed", "the connection ended before the answer: the server may have done what was asked")
        }
    return RemintError(code, .transport, message, isRetryable: kind == .notSent, underlyingError: error)
}
