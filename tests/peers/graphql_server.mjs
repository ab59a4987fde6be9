// A GraphQL server of graphql-yoga: orders by connections, mutations with userErrors, and the cost of each
// answer in `extensions`, throttled when the points are spent. PORT, MODULES (folder of node_modules).
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const require = createRequire(join(process.env.MODULES, "node_modules", "start.js"));
const { createYoga, createSchema } = await import(pathToFileURL(require.resolve("graphql-yoga")));
const { GraphQLError } = await import(pathToFileURL(require.resolve("graphql")));

const orders = Array.from({ length: 7 }, (_, number) => ({
  id: `gid://shop/Order/${number + 1}`,
  total: `${number}.10`,
  updatedAt: new Date(Date.UTC(2026, 0, number + 1)).toISOString(),
}));
let points = +(process.env.POINTS || 1000);

const typeDefs = `
  type Order { id: ID! total: String! updatedAt: String! }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  type OrderConnection { nodes: [Order!]! pageInfo: PageInfo! }
  type UserError { field: [String!] message: String! }
  type OrderPayload { order: Order userErrors: [UserError!]! }
  type Query { orders(first: Int!, after: String, since: String): OrderConnection! secret: String shop: String! }
  type Mutation { orderCreate(total: String!): OrderPayload! refill: Int! }
`;
const resolvers = {
  Query: {
    shop: () => "A shop",
    secret: () => { throw new GraphQLError("Access denied for secret field.", { extensions: { code: "ACCESS_DENIED" } }); },
    orders: (_, { first, after, since }) => {
      if (points < 10) throw new GraphQLError("Throttled", { extensions: { code: "THROTTLED" } });
      points -= 10;
      const found = orders.filter((order) => !since || order.updatedAt >= since);
      const start = after ? found.findIndex((order) => order.id === atob(after)) + 1 : 0;
      const nodes = found.slice(start, start + first);
      const last = nodes.at(-1);
      return { nodes, pageInfo: { hasNextPage: start + first < found.length, endCursor: last ? btoa(last.id) : null } };
    },
  },
  Mutation: {
    refill: () => (points = 1000),
    orderCreate: (_, { total }) => {
      if (!/^\d+\.\d\d$/.test(total)) return { order: null, userErrors: [{ field: ["total"], message: "is no amount" }] };
      const order = { id: `gid://shop/Order/${orders.length + 1}`, total, updatedAt: new Date().toISOString() };
      orders.push(order);
      return { order, userErrors: [] };
    },
  },
};
const cost = {
  onExecute: () => ({
    onExecuteDone: ({ result, setResult }) =>
      setResult({
        ...result,
        extensions: { cost: { requestedQueryCost: 10, throttleStatus: { maximumAvailable: 1000, currentlyAvailable: points, restoreRate: 100 } } },
      }),
  }),
};
const yoga = createYoga({ schema: createSchema({ typeDefs, resolvers }), plugins: [cost], logging: false, maskedErrors: false });
createServer((request, response) => {
  if (request.headers["x-access-token"] !== "shpat_test") {
    response.writeHead(401, { "content-type": "application/json" }).end('{"errors":"Invalid token"}');
    return;
  }
  yoga(request, response);
}).listen(+process.env.PORT, "127.0.0.1");
