// A service that knows nothing of Plinth: `plinth run … -- node server.mjs` boots the database and then becomes it.
import { createServer } from "node:http";

const port = Number(process.env.PORT ?? 8080);
const server = createServer((request, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ path: request.url, pid: process.pid }));
});
server.listen(port, () => console.log(`listening on ${server.address().port}`));

// The process is the one that the supervisor started: its signals arrive here.
process.on("SIGTERM", () => {
  console.log("SIGTERM: closing");
  server.close(() => process.exit(0));
});
