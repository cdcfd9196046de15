/** `holdover completion`: a script that has a shell complete commands and options. */
import { type Command, Option } from 'commander';
import { acting, type Family } from './options.ts';
import { say } from './terminal.ts';

export const addCompletion: Family = (program) => {
  program
    .command('completion')
    .argument('<shell>', 'bash or zsh')
    .description('print a script that has a shell complete commands: eval "$(holdover completion bash)"')
    .action(
      acting(async ({ args: [shell] }) => {
        if (shell !== 'bash' && shell !== 'zsh') program.error('error: there are completions for bash and zsh');
        say(shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${script(program)}` : script(program));
      }),
    );
};

/** What may follow each command, by its words. */
function script(program: Command): string {
  const cases = [[program, ''] as const, ...program.commands.flatMap(familyOf)].map(
    ([command, words]) => `    '${words}') words='${followers(command, program).join(' ')}' ;;`,
  );
  return `_holdover() {
  local words said=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do [[ $word == -* ]] || said="$said$word "; done
  case "$said" in
${cases.join('\n')}
    *) COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")); return ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _holdover holdover`;
}

const familyOf = (command: Command): (readonly [Command, string])[] => [
  [command, `${command.name()} `],
  ...command.commands.map((below) => [below, `${command.name()} ${below.name()} `] as const),
];

function followers(command: Command, program: Command): string[] {
  const options = [...command.options, ...program.options, new Option('--help')];
  return [
    ...command.commands.map((below) => below.name()),
    ...new Set(options.map(({ long }) => long).filter((name) => name !== undefined && name !== null)),
  ];
}
