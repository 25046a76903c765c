import { Module } from '@nestjs/common';
import { AdminController } from './admin.controller.js';

/** Needs `CacheModule` (global) and `AuthModule` (global). */
@Module({ controllers: [AdminController] })
export class AdminModule {}
