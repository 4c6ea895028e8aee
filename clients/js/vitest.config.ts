import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["tests/**/*.test.ts"], pool: "threads", isolate: false, reporters: ["dot"], cache: false },
});
