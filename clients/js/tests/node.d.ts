// The little of Node that the tests use; all of its types would be one more dependency.

declare module "node:fs" {
  export function readFileSync(path: URL, encoding: "utf8"): string;
}
