// npm oidc-provider (OpenID-certified) on loopback: code with PKCE, refresh rotation with reuse detection, device
// code, client credentials. OIDC_MODULE is where it is installed, OIDC_CONFIG a JSON object (see oidc.py).
// `/seen` lists what the token endpoint was asked for, by grant.
const { Provider } = await import(process.env.OIDC_MODULE);
const config = JSON.parse(process.env.OIDC_CONFIG);
const device = "urn:ietf:params:oauth:grant-type:device_code";
const issuer = `http://127.0.0.1:${config.port}`;
const code = {
  redirect_uris: ["http://127.0.0.1/callback"], application_type: "native", response_types: ["code"],
  grant_types: ["authorization_code", "refresh_token", device],
};
const machine = { redirect_uris: [], response_types: [], grant_types: ["client_credentials"] };
const provider = new Provider(issuer, {
  clients: [
    { client_id: "tui", token_endpoint_auth_method: "none", ...code },
    { client_id: "brief", token_endpoint_auth_method: "none", ...code },
    { client_id: "web", client_secret: config.secret, ...code },
    { client_id: "basic", client_secret: config.secret, ...machine },
    { client_id: "post", client_secret: config.secret, token_endpoint_auth_method: "client_secret_post", ...machine },
    { client_id: "jwt", token_endpoint_auth_method: "private_key_jwt", jwks: { keys: [config.jwk] },
      token_endpoint_auth_signing_alg: config.alg, ...machine },
  ],
  features: {
    deviceFlow: { enabled: true }, clientCredentials: { enabled: true }, devInteractions: { enabled: true },
    revocation: { enabled: true },
  },
  scopes: ["openid", "offline_access", "read", "write"],
  enabledJWA: { clientAuthSigningAlgValues: ["RS256", "PS256", "ES256"] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (ctx, client, code) =>
    client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
  ttl: {
    AccessToken: () => config.seconds, ClientCredentials: config.seconds, AuthorizationCode: 30, RefreshToken: 600,
    DeviceCode: (ctx, token, client) => (client.clientId === "brief" ? 1 : 60),
    Interaction: 600, Session: 600, Grant: 600, IdToken: 600,
  },
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ["for tests"] },
});
const seen = [];
provider.use(async (ctx, next) => {
  if (ctx.path === "/seen") { ctx.body = seen; return; }
  await next();
  if (ctx.path === "/token") seen.push({ grant: ctx.oidc?.params?.grant_type ?? null, status: ctx.status });
});
provider.listen(config.port, "127.0.0.1");
