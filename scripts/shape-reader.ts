/**
 * Reads from the sources what a host's state consists of. Comments, formatting, methods and the order of fields do not
 * matter; names and types of fields do, those of the records that they name, and constants of rooms that pack numbers.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import {
  type Class,
  type Expression,
  type Node,
  type ObjectExpression,
  type Program,
  type PropertyDefinition,
  parseSync,
  type TSSignature,
  type TSType,
  Visitor,
} from 'oxc-parser';
import type { ClassShape, Shapes } from '../src/host/state/shapes.ts';

const SOURCE = new URL('../src/', import.meta.url);
/** Answers of the kernel, which nothing keeps. */
const TRANSIENT: ReadonlySet<string> = new Set(['Refusal']);
/** Rooms whose constants say how numbers lie in arrays and frames. */
const PACKED = ['machine/', 'kernel/iommufd/areas/'];

type Fields = Record<string, string>;
/** An interface, or a type alias. */
type Alias = Extract<Node, { type: 'TSInterfaceDeclaration' | 'TSTypeAliasDeclaration' }>;

class Module {
  readonly path: string;
  readonly classes = new Map<string, Class>();
  readonly aliases = new Map<string, Alias>();
  readonly constants: Fields = {};
  /** Where names come from: module, and the name there. */
  readonly imports = new Map<string, [path: string, name: string]>();
  readonly #text: string;
  readonly exported = new Set<string>();

  constructor(path: string, text: string) {
    this.path = path;
    const { program, comments, errors } = parseSync(path, text);
    if (errors[0]) throw new Error(`${path}: ${errors[0].message}`);
    // Blanks in place of comments: all else stays where it is.
    let bare = text;
    for (const { start, end } of comments) bare = bare.slice(0, start) + ' '.repeat(end - start) + bare.slice(end);
    this.#text = bare;
    this.#read(program);
  }

  #read({ body }: Program): void {
    for (const statement of body) {
      if ('source' in statement && statement.source && 'specifiers' in statement) {
        const from = posix.join(posix.dirname(this.path), statement.source.value);
        for (const specifier of statement.specifiers) {
          const { local } = specifier;
          const there = specifier.type === 'ImportSpecifier' ? specifier.imported : local;
          const here = specifier.type === 'ExportSpecifier' ? specifier.exported : local;
          if ('name' in there && 'name' in here) this.imports.set(here.name, [from, there.name]);
        }
      }
      const declared = statement.type === 'ExportNamedDeclaration' ? statement.declaration : statement;
      if (!declared) continue;
      if (declared.type === 'ClassDeclaration' && declared.id) {
        this.classes.set(declared.id.name, declared);
        if (declared !== statement) this.exported.add(declared.id.name);
      }
      if (declared.type === 'TSInterfaceDeclaration' || declared.type === 'TSTypeAliasDeclaration')
        this.aliases.set(declared.id.name, declared);
      if (declared.type !== 'VariableDeclaration' || declared.kind !== 'const') continue;
      for (const { id, init } of declared.declarations)
        if (id.type === 'Identifier' && /^[A-Z][A-Z0-9_]+$/.test(id.name) && init && isNumbers(init))
          this.constants[id.name] = this.print(init);
    }
  }

  /** As one line, however it is broken in the source. */
  print({ start, end }: { start: number; end: number }): string {
    return this.#text
      .slice(start, end)
      .replace(/\s+/g, ' ')
      .replace(/(^|[=(<[{:,] ?)\| /g, '$1')
      .replace(/[,;]? ?([}\])>])/g, (_, close: string) => (close === '}' ? ' }' : close))
      .replace(/([[(<]) /g, '$1');
  }
}

/** Numbers, or an object of them. */
function isNumbers(init: Expression): boolean {
  switch (init.type) {
    case 'Literal':
      return typeof init.value === 'number' || typeof init.value === 'bigint';
    case 'UnaryExpression':
      return isNumbers(init.argument);
    case 'BinaryExpression':
      return init.left.type !== 'PrivateIdentifier' && isNumbers(init.left) && isNumbers(init.right);
    case 'Identifier':
      return /^[A-Z][A-Z0-9_]+$/.test(init.name);
    case 'TSAsExpression':
      return isNumbers(init.expression);
    case 'ObjectExpression':
      return init.properties.every((property) => property.type === 'Property' && isNumbers(property.value));
    default:
      return false;
  }
}

const nameOf = (key: { type: string }): string =>
  'name' in key ? String(key.name) : 'value' in key ? String(key.value) : '';

export class ShapeReader {
  readonly #modules = new Map<string, Module>();
  readonly #records = new Map<string, Map<Alias, unknown>>();
  readonly #classes = new Map<string, Module>();

  /** `edit` changes the text of a file before it is read; paths are those below src. */
  constructor(edit: (path: string, text: string) => string = (_, text) => text) {
    for (const path of readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })) {
      if (!/^(host|kernel|machine)\/.*\.ts$/.test(path)) continue;
      const text = readFileSync(new URL(path, SOURCE), 'utf8');
      this.#modules.set(path, new Module(path, edit(path, text)));
    }
    // Texts of machines are read before there is a host; of the classes of `host` those count that a host has.
    for (const module of this.#modules.values())
      if (!module.path.startsWith('host/') && !isTopology(module.path))
        for (const name of module.classes.keys()) this.#addClass(module, name);
    this.#addClass(this.#modules.get('host/host.ts')!, 'Host');
  }

  #addClass(module: Module, name: string): void {
    const known = this.#classes.get(name);
    if (known === module || TRANSIENT.has(name)) return;
    if (known) throw new Error(`${known.path} and ${module.path} both have a class ${name}: classes go by their names`);
    if (!module.exported.has(name))
      throw new Error(`${module.path} has to export class ${name}, as it is part of a host's state`);
    this.#classes.set(name, module);
  }

  shapes(): Shapes {
    const classes: Record<string, ClassShape> = {};
    const constants = new Map<string, Set<string>>();
    // Reading fields finds further classes, which are added behind.
    for (const [name, module] of this.#classes) {
      classes[name] = this.#classShape(module, module.classes.get(name)!);
    }
    for (const { path, constants: found } of this.#modules.values())
      if (isPacked(path))
        for (const [name, value] of Object.entries(found))
          constants.set(name, (constants.get(name) ?? new Set()).add(value));
    const records = [...this.#records].map(([name, found]) => [name, oneOrAll([...found.values()])] as const);
    // What has methods only is none, and neither is what a class shows to others.
    const shown = this.#implemented();
    const isRecord = ([name, shape]: readonly [string, unknown]): boolean =>
      JSON.stringify(shape) !== '{}' && !shown.has(name);
    return {
      classes: sorted(classes),
      records: sorted(Object.fromEntries(records.filter(isRecord))),
      constants: sorted(Object.fromEntries([...constants].map(([name, values]) => [name, oneOrAll([...values])]))),
    };
  }

  /** A module that imports all classes which objects can have. */
  registry(): string {
    const byPath = new Map<string, string[]>();
    for (const [name, module] of this.#classes)
      if (!module.classes.get(name)!.abstract) byPath.set(module.path, [...(byPath.get(module.path) ?? []), name]);
    const paths = [...byPath.keys()].sort((a, b) => depth(b) - depth(a) || (a < b ? -1 : 1));
    const imports = paths.map(
      (path) => `import { ${byPath.get(path)!.sort().join(', ')} } from '${relative(path)}';\n`,
    );
    const names = [...byPath.values()].flat().sort();
    return (
      '/** Every class of a host’s object graph. Written by `npm run shapes`. */\n' +
      `${imports.join('')}\nexport const CLASSES = {\n${names.map((name) => `  ${name},\n`).join('')}};\n`
    );
  }

  #classShape(module: Module, declared: Class): ClassShape {
    const state: Fields = {};
    const caches: Fields = {};
    const fields = declared.body.body.filter(
      (member): member is PropertyDefinition => member.type === 'PropertyDefinition',
    );
    const isCaches = (field: PropertyDefinition): boolean => field.static && nameOf(field.key) === 'caches';
    const listed = fields.find(isCaches)?.value as ObjectExpression | undefined;
    // What it spreads are those of the class that it extends.
    const cached = new Set(
      listed?.properties.flatMap((property) => (property.type === 'Property' ? nameOf(property.key) : [])),
    );
    const where = `class ${declared.id!.name} in src/${module.path}`;
    for (const field of fields) {
      if (field.static || field.declare) continue;
      if (field.key.type === 'PrivateIdentifier')
        throw new Error(
          `${where} has the field #${field.key.name}, which snapshots cannot see: name it _${field.key.name}`,
        );
      const name = nameOf(field.key);
      const isCache = cached.delete(name);
      (isCache ? caches : state)[name] = this.#typeOf(module, field, where, !isCache);
    }
    for (const name of cached) throw new Error(`${where} lists ${name} among its caches, which is none of its fields`);
    const base = declared.superClass?.type === 'Identifier' ? declared.superClass.name : undefined;
    return {
      ...(base !== undefined && { extends: base }),
      state: sorted(state),
      ...(Object.keys(caches).length > 0 && { caches: sorted(caches) }),
    };
  }

  #typeOf(module: Module, field: PropertyDefinition, where: string, follow: boolean): string {
    const { typeAnnotation, value, readonly = false } = field;
    if (typeAnnotation) {
      if (follow) this.#follow(module, typeAnnotation);
      return module.print(typeAnnotation.typeAnnotation);
    }
    if (!value) throw new Error(`${where}: field ${nameOf(field.key)} has neither a type nor a value`);
    if (follow) this.#follow(module, value);
    return this.#typeOfValue(module, value, readonly);
  }

  /** What a value without a type says: of a constructor its class, of what may change only what kind of thing it is. */
  #typeOfValue(module: Module, value: Expression, readonly: boolean): string {
    switch (value.type) {
      case 'Literal':
        return readonly || value.value === null ? module.print(value) : typeof value.value;
      case 'UnaryExpression':
        return this.#typeOfValue(module, value.argument, false);
      case 'MemberExpression':
        return value.object.type === 'Identifier' && value.object.name === 'Number' ? 'number' : module.print(value);
      case 'NewExpression':
        return module.print(value.callee) + (value.typeArguments ? module.print(value.typeArguments) : '');
      case 'CallExpression':
        if (value.callee.type === 'MemberExpression') return this.#typeOfValue(module, value.callee.object, readonly);
        return module.print(value);
      default:
        return module.print(value);
    }
  }

  /** Finds the records and classes that a type names, and theirs. */
  #follow(module: Module, node: Node): void {
    const named = (name: { type: string }): void => {
      if (name.type === 'Identifier') this.#find(module, nameOf(name));
    };
    const visitor = new Visitor({
      TSTypeReference: ({ typeName }) => named(typeName),
      NewExpression: ({ callee }) => named(callee),
    });
    // A program is all that it visits.
    visitor.visit({ type: 'Program', body: [node] } as unknown as Program);
  }

  #find(from: Module, name: string): void {
    const imported = from.imports.get(name);
    const module = imported ? this.#modules.get(imported[0]) : from;
    if (!module) return;
    const there = imported ? imported[1] : name;
    const alias = module.aliases.get(there);
    if (module.imports.has(there)) this.#find(module, there);
    else if (module.classes.has(there)) this.#addClass(module, there);
    else if (alias) this.#addRecord(module, there, alias);
  }

  #addRecord(module: Module, there: string, alias: Alias): void {
    const known = this.#records.get(there) ?? new Map<Alias, unknown>();
    if (known.has(alias)) return;
    this.#records.set(there, known.set(alias, null));
    known.set(alias, this.#recordShape(module, alias));
  }

  /** Interfaces that classes implement, and those that they extend. */
  #implemented(): Set<string> {
    const shown = new Set<string>();
    const add = (module: Module, name: string): void => {
      const [path, there] = module.imports.get(name) ?? [module.path, name];
      const from = this.#modules.get(path);
      const alias = from?.aliases.get(there);
      shown.add(there);
      if (alias?.type === 'TSInterfaceDeclaration') for (const parent of alias.extends) add(from!, from!.print(parent));
    };
    for (const [name, module] of this.#classes)
      for (const shows of module.classes.get(name)!.implements ?? []) add(module, module.print(shows.expression));
    return shown;
  }

  #recordShape(module: Module, alias: Alias): unknown {
    if (alias.type === 'TSInterfaceDeclaration') {
      const fields = this.#members(module, alias.body.body);
      for (const parent of alias.extends) {
        const name = module.print(parent);
        this.#find(module, name);
        fields[`extends ${name}`] = name;
      }
      return sorted(fields);
    }
    const type: TSType = alias.typeAnnotation;
    if (type.type === 'TSTypeLiteral') return sorted(this.#members(module, type.members));
    this.#follow(module, type);
    return module.print(type);
  }

  #members(module: Module, members: readonly TSSignature[]): Fields {
    const fields: Fields = {};
    for (const member of members) {
      if (member.type === 'TSIndexSignature') fields['[]'] = module.print(member);
      if (member.type !== 'TSPropertySignature' || !member.typeAnnotation) continue;
      this.#follow(module, member.typeAnnotation);
      fields[nameOf(member.key)] =
        `${module.print(member.typeAnnotation.typeAnnotation)}${member.optional ? ' | absent' : ''}`;
    }
    return fields;
  }
}

const isTopology = (path: string): boolean => path.startsWith('machine/topology/');
const isPacked = (path: string): boolean => PACKED.some((room) => path.startsWith(room)) && !isTopology(path);

/** What goes by one name, in an order that does not depend on where it was found. */
function oneOrAll(found: unknown[]): unknown {
  return found.length === 1 ? found[0] : found.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const depth = (path: string): number => (path.startsWith('host/') ? 0 : 1);
const relative = (path: string): string => posix.relative('host/state', path).replace(/^(?!\.)/, './');

function sorted<T>(group: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(group).sort(([a], [b]) => (a < b ? -1 : 1)));
}
