// What goes into a Vapor application: one client for all requests, closed with the application, and its errors as HTTP statuses.
import Foundation
import Remint
import Vapor

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

func configure(_ app: Application) async throws {
    let logger = app.logger
    let baseURL = Environment.get("BASE_URL") ?? "https://api.phoenixwallet.io"
    var configuration = Configuration()
    configuration.variables["token_endpoint"] = Environment.get("TOKEN_ENDPOINT")
    configuration.variables["base_url"] = baseURL
    configuration.allowLoopbackHTTP = true
    configuration.onNotice = { notice in logger.notice("\(notice.name): \(notice.detail ?? "")") }
    app.wallet = try Remint.Client(
        "phoenix-wallet", clientID: Environment.get("CLIENT_ID"), clientSecret: Environment.get("CLIENT_SECRET"),
        scope: ["wallets:read"], configuration: configuration)
    app.lifecycle.use(ClosesWallet())
    app.middleware.use(TokenErrors())

    let wallets = URL(string: "\(baseURL)/v1/wallets")!
    app.get("wallets") { request async throws -> Response in
        let (body, answer) = try await request.application.wallet.data(for: URLRequest(url: wallets))
        return Response(
            status: HTTPResponseStatus(statusCode: answer.statusCode),
            headers: ["content-type": answer.value(forHTTPHeaderField: "content-type") ?? "application/json"],
            body: .init(data: body))
    }
}

extension Application {
    private struct WalletKey: StorageKey {
        typealias Value = Remint.Client
    }

    /// Holds the token: one for the whole application. (Vapor has a `Client` of its own, so ours gets its module's name.)
    var wallet: Remint.Client {
        get {
            guard let client = storage[WalletKey.self] else { fatalError("`configure(_:)` sets `app.wallet` first") }
            return client
        }
        set { storage[WalletKey.self] = newValue }
    }
}

private struct ClosesWallet: LifecycleHandler {
    func shutdownAsync(_ application: Application) async {
        await application.wallet.close()
    }
}

/// A token that can't be had is a fault behind this server, never the visitor's: 503 with the time to come back, or 502.
struct TokenErrors: AsyncMiddleware {
    func respond(to request: Request, chainingTo next: any AsyncResponder) async throws -> Response {
        do {
            return try await next.respond(to: request)
        } catch let error as RemintError {
            request.logger.error(error.localizedDescription)
            guard error.isRetryable else { throw Abort(.badGateway) }
            let seconds = (error.retryAfter ?? .seconds(1)).components.seconds
            throw Abort(.serviceUnavailable, headers: ["retry-after": "\(max(1, seconds))"])
        }
    }
}
