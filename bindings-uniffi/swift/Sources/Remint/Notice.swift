internal import RemintCore

/// Something that happened which an operator may want to see. It never holds a secret.
public struct Notice: Sendable, Hashable {
    /// What happened: one of the names that the README lists, such as `fetched`.
    public let name: String
    /// More about it: a word, or a number in decimal digits.
    public let detail: String?
    /// The cache key it is about.
    public let key: String?
    /// The flight it is about.
    public let flight: String?

    init(_ notice: RemintCore.Notice) {
        name = notice.name
        detail = notice.detail
        key = notice.key
        flight = notice.flight
    }

    init(name: String) {
        self.name = name
        detail = nil
        key = nil
        flight = nil
    }
}
