// What people write by hand. There is no package to compare with: see README.md.
import Foundation

/// phoenix-wallet's sample, as its documentation has it for other languages: a cache with five minutes of buffer. An actor, since Swift asks for one.
/// Callers who come while a request is under way send another: an actor lets them in at every `await`.
actor TokenManager {
    private let request: @Sendable () async throws -> Data
    private var token: String?
    private var expiresAt = Date.distantPast

    init(request: @escaping @Sendable () async throws -> Data) {
        self.request = request
    }

    func getToken() async throws -> String {
        if let token, expiresAt > Date().addingTimeInterval(300) { return token }
        let answer = try JSONDecoder().decode(Answer.self, from: try await request())
        token = answer.accessToken
        expiresAt = Date().addingTimeInterval(answer.expiresIn)
        return answer.accessToken
    }
}

/// The same with the request that is under way kept as a task, as careful people have it. (It also keeps nobody's failure, no backoff, and no
/// margin that fits a short token.)
actor SingleFlightTokenManager {
    private let request: @Sendable () async throws -> Data
    private var token: String?
    private var expiresAt = Date.distantPast
    private var flight: Task<Answer, any Error>?

    init(request: @escaping @Sendable () async throws -> Data) {
        self.request = request
    }

    func getToken() async throws -> String {
        if let token, expiresAt > Date().addingTimeInterval(300) { return token }
        if let flight { return try await flight.value.accessToken }
        let flight = Task { [request] in try JSONDecoder().decode(Answer.self, from: try await request()) }
        self.flight = flight
        defer { self.flight = nil }
        let answer = try await flight.value
        token = answer.accessToken
        expiresAt = Date().addingTimeInterval(answer.expiresIn)
        return answer.accessToken
    }
}

struct Answer: Decodable {
    let accessToken: String
    let expiresIn: TimeInterval

    private enum CodingKeys: String, CodingKey {
        case accessToken = "access_token"
        case expiresIn = "expires_in"
    }
}
