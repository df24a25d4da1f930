import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // so that the page also works below a path of a reverse proxy
  server: { proxy: { "/api": "http://127.0.0.1:8000" } }, // npm run dev, beside a running `polyvec serve`
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // data: addresses are not in the page's content security policy
    modulePreload: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 300,
  },
});
