import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { pretend } from "./dev/pretend.ts";

// The gateway serves everything below /ui/. `ADIT_URL=http://127.0.0.1:7800 npm run dev` develops against a running one;
// without it a pretend gateway answers.
const gateway = process.env.ADIT_URL;
const PLANES = ["/api", "/commands", "/execute", "/jobs"];

export default defineConfig({
  base: "/ui/",
  plugins: [svelte(), ...(gateway ? [] : [pretend()])],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    license: { fileName: "licences.md" },
    rolldownOptions: { input: { index: "index.html", docs: "docs/index.html", support: "support/index.html" } },
  },
  server: gateway
    ? {
        proxy: {
          ...Object.fromEntries(PLANES.map((path) => [path, { target: gateway }])),
          "/ws": { target: gateway, ws: true },
        },
      }
    : {},
  // The policy that the built console lives under; `style-src-attr` is for the cells that xterm.js draws without WebGL.
  preview: {
    headers: {
      "Content-Security-Policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    },
  },
  test: { include: ["src/**/*.test.ts"] },
});
