import { surfaceTable } from '../../protocols/remoting/test/surface.ts'

const BEGIN = '<!-- printed by `npm run docs` from protocols/remoting/test/surface.ts -->\n'
const END = '\n<!-- end of what is printed -->'

/** The page with its table of requests printed anew. @throws where it has no place for it */
export const remotingPage = (page: string): string => {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)]
  if (from < 0 || to < from) throw new Error('docs/remoting.md has lost the marks around its table')
  return `${page.slice(0, from)}${BEGIN}\n${surfaceTable()}\n${page.slice(to)}`
}
