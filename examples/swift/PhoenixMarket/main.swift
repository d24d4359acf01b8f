// phoenix.market: what a back end hands to its front end, and the iframe's URL. ../../phoenix-market-story has the whole of it.
import Foundation
import Program
import Remint

await program {
    var configuration = Configuration()
    configuration.variables["token_endpoint"] = variable("TOKEN_ENDPOINT")
    configuration.variables["iframe_url"] = variable("IFRAME_URL")
    configuration.allowLoopbackHTTP = true
    let market = try Client(
        "phoenix-market", clientID: variable("CLIENT_ID"), clientSecret: variable("CLIENT_SECRET"),
        configuration: configuration)

    // One token serves all users. The answer to the front end must say `Cache-Control: no-store`.
    let token = try await market.token()
    let seconds = token.expiresIn().components.seconds
    print(#"{"access_token":"\#(token.accessToken)","expires_in":\#(seconds)}"#)

    // Histories and logs keep URLs, so this one is asked for by name.
    let iframe = try await market.insecureURL(URL(string: variable("IFRAME_URL") ?? "")!)
    print(#"<iframe src="\#(iframe.url)"></iframe>"#)
}
