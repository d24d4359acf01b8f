// The back-end half of a mobile app, as Vapor has it: what needs a client secret is done here, and the app gets what comes of it.
import Foundation
import Remint
import Vapor

/// What the app may see: a URL for its web view, and when to come back for another. The secret and the refresh tokens stay here.
struct Frame: Content {
    let url: URL
    let expiresIn: Int64
}

func routes(_ app: Application, market: Remint.Client, frame: URL) throws {
    app.get("frame") { request async throws -> Response in
        // Here comes your own check of who asks: the app's session, or the token that ../MobileApp has from your authorization server.

        // With five minutes of life at least, so that the app comes back before it ends.
        let token = try await market.token(minTTL: .seconds(300))
        let insecure = try await market.insecureURL(frame)
        var response = try await Frame(url: insecure.url, expiresIn: token.expiresIn().components.seconds)
            .encodeResponse(for: request)
        // `Cache-Control: no-store`, since the URL is as good as the token.
        for (name, value) in insecure.headers { response.headers.replaceOrAdd(name: name, value: value) }
        return response
    }
}
