import Foundation
internal import RemintCore

/// What can go wrong. It never holds a token, a credential or a body.
///
/// `localizedDescription` says what happened and what to do. Branch on ``code``, which stays the same in every version
/// and language; the README lists the codes.
public struct RemintError: Error, Sendable {
    /// Whose doing an error is. The three are never mixed.
    public enum Family: String, Sendable, Hashable {
        /// The library was misused: change the program or its configuration.
        case usage
        /// The authorization server, or what answered in its place, said no.
        case server
        /// No usable answer arrived, or a function of yours failed: then ``RemintError/underlyingError`` is its error.
        case transport
    }

    /// The stable code, as in `invalid_client`.
    public let code: String

    /// Whose doing it is.
    public let family: Family

    /// What happened and what to do.
    public let message: String

    /// The likely cause, where one can be told.
    public let hint: String?

    /// The HTTP status of the answer, if there was one.
    public let status: Int?

    /// Whether the same call may succeed later, without a change of program or configuration.
    public let isRetryable: Bool

    /// How long it is until a further attempt is made, where known: in milliseconds' resolution, from when the error
    /// was thrown.
    public let retryAfter: Duration?

    /// The `error` of the server's answer (RFC 6749 section 5.2).
    public let oauthError: String?

    /// A JSON pointer (RFC 6901) to the wrong field of a profile.
    public let pointer: String?

    /// The lifetime that the server gives, for `min_ttl_unavailable`.
    public let lifetime: Duration?

    /// Whether a refused refresh token may have been spent by an earlier request whose answer was lost.
    public let isAmbiguous: Bool

    /// The authentication context classes that an API asks for, space-separated (RFC 9470 section 3).
    public let acrValues: String?

    /// How long ago the person may have signed in at most, says an API (RFC 9470 section 3).
    public let maxAge: Duration?

    /// The host's own error that caused this one. It may hold a whole request: it is not part of what this error
    /// prints.
    public let underlyingError: (any Error)?

    init(_ failure: RemintCore.Failure, underlyingError: (any Error)? = nil, hint: String? = nil) {
        code = failure.code
        family =
            switch failure.family {
            case .usage: .usage
            case .server: .server
            case .transport: .transport
            }
        message = inSwiftNames(failure.text)
        self.hint = failure.hint.map(inSwiftNames) ?? hint
        status = failure.status.map(Int.init)
        isRetryable = failure.retryable
        retryAfter = failure.retryAfter.map { .milliseconds($0) }
        oauthError = failure.oauthError
        pointer = failure.pointer
        lifetime = failure.lifetime.map { .milliseconds($0) }
        isAmbiguous = failure.ambiguous
        acrValues = failure.acrValues
        maxAge = failure.maxAge.map { .seconds($0) }
        self.underlyingError = underlyingError
    }

    /// An error that the shell itself finds.
    init(
        _ code: String, _ family: Family, _ message: String, isRetryable: Bool = false,
        underlyingError: (any Error)? = nil
    ) {
        self.code = code
        self.family = family
        self.message = message
        self.isRetryable = isRetryable
        self.underlyingError = underlyingError
        hint = nil
        status = nil
        retryAfter = nil
        oauthError = nil
        pointer = nil
        lifetime = nil
        isAmbiguous = false
        acrValues = nil
        maxAge = nil
    }

    /// An option or argument that has no meaning.
    static func misuse(_ message: String) -> RemintError {
        RemintError("invalid_option", .usage, message)
    }
}

extension RemintError: LocalizedError {
    /// What happened, what to do, and the likely cause.
    public var errorDescription: String? { hint.map { "\(message): \($0)" } ?? message }

    /// The likely cause, where one can be told.
    public var recoverySuggestion: String? { hint }
}

extension RemintError: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "\(code): \(errorDescription ?? message)" }
    public var debugDescription: String { "RemintError(\(description))" }

    public var customMirror: Mirror {
        let children: KeyValuePairs<String, Any> = [
            "code": code, "family": family, "message": message, "hint": hint as Any, "status": status as Any,
            "isRetryable": isRetryable, "retryAfter": retryAfter as Any, "oauthError": oauthError as Any,
            "pointer": pointer as Any, "lifetime": lifetime as Any, "isAmbiguous": isAmbiguous,
            "acrValues": acrValues as Any, "maxAge": maxAge as Any,
            "underlyingError": underlyingError.map { String(describing: type(of: $0)) } as Any,
        ]
        return Mirror(self, children: children, displayStyle: .struct)
    }
}

/// The core names options in snake case; here they have the names that Swift gives them.
private func inSwiftNames(_ text: String) -> String {
    guard text.contains("`") else { return text }
    // A proxy and certificates are a session's own matters here.
    let text = text.replacingOccurrences(of: ", `proxy` and `ca`", with: " and `urlSession`")
    return Configuration.optionNames.reduce(text) { text, name in
        // As in `api_origins.0`, too.
        text.replacingOccurrences(of: "`\(name.key)`", with: "`\(name.value)`")
            .replacingOccurrences(of: "`\(name.key).", with: "`\(name.value).")
    }
}
