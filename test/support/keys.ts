/** Keys of the services that tests start. */
export const ADMIN_KEY = 'key-of-the-test-admin';
