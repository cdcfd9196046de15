/**
 * The descriptor of an access that a test makes (selftest.c, iommufd_test_create_access): closing it ends the access.
 */
import { OpenFile } from '../../file.ts';
import type { Access } from './access.ts';

export class AccessFile extends OpenFile {
  readonly kind = 'access';
  readonly access: Access;

  constructor(access: Access) {
    super();
    this.access = access;
    access.context.get();
  }

  link(): string {
    return 'anon_inode:[iommufd_test_staccess]';
  }

  release(): void {
    const { context } = this.access;
    this.access.close();
    context.put();
  }
}
